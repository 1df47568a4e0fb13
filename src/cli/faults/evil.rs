//! How receivers misbehave.

use std::io;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::watch;

use super::inbox::{ELSEWHERE, Mood};
use super::servers::until;
use crate::cli::Failure;
use crate::cli::outside::wire::Wire;

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const BROKEN: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
const GIB: usize = 1024 * 1024 * 1024;
const PIECE: &[u8] = &[b'x'; 64 * 1024];
/// How long a bomb is once it has gone off.
const BOMB_BYTES: &str = "268435456";

/// Answers a request as the mood says; whether the connection can be used again.
pub async fn answer(wire: &mut Wire, mood: &Mood, change: &mut watch::Receiver<Mood>) -> io::Result<bool> {
    match mood {
        Mood::Good => wire.send(GOOD).await?,
        Mood::Broken => wire.send(BROKEN).await?,
        Mood::Hanging => {
            tokio::select! {
                _ = change.wait_for(|mood| *mood != Mood::Hanging) => {}
                () = wire.disturbed() => {}
            }
            return Ok(false);
        }
        Mood::Dripping => {
            for byte in GOOD {
                wire.send(std::slice::from_ref(byte)).await?;
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
                    () = wire.disturbed() => return Ok(false),
                }
            }
        }
        Mood::Huge => {
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n").as_bytes()).await?;
            for _ in 0..GIB / PIECE.len() {
                wire.send(PIECE).await?;
            }
        }
        Mood::Bomb(bomb) => {
            let length = bomb.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n");
            wire.send(head.as_bytes()).await?;
            wire.send(bomb).await?;
        }
        Mood::Redirecting => {
            let head =
                format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {ELSEWHERE}/1\r\nContent-Length: 0\r\n\r\n");
            wire.send(head.as_bytes()).await?;
        }
    }
    Ok(true)
}

/// Some hundred kilobytes of gzip that would be 256 MiB.
pub async fn bomb() -> Result<Vec<u8>, Failure> {
    let made =
        Command::new("/bin/sh").args(["-c", &format!("head -c {BOMB_BYTES} /dev/zero | gzip -1")]).output().await;
    match made {
        Ok(made) if made.status.success() && !made.stdout.is_empty() => Ok(made.stdout),
        Ok(made) => Err(Failure::new(format!("gzip ended with {}", made.status))),
        Err(error) => Err(Failure::new(format!("gzip cannot be run: {error}"))),
    }
}

/// Waits until a receiver has misbehaved so often.
pub async fn until_misbehaved(inbox: &super::inbox::Inbox, times: u64) -> Result<(), Failure> {
    until("a receiver misbehaves", async || inbox.misbehaved() >= times).await
}
