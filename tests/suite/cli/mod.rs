//! The program as people start it: the built binary, its arguments, its output and its exit codes.

mod bench;
mod books;
mod demo;
mod faults;
mod growth;
mod keys;
mod program;
mod replay;
mod serve;
