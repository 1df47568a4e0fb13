//! The binary: everything is in the library, so that tests can reach it.

use std::process::ExitCode;

/// Many short-lived values of all sizes on several threads: the system's allocator took a quarter of the service's time
/// under load (docs/decisions/0011).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    postback::cli::main(std::env::args_os(), std::env::vars_os())
}
