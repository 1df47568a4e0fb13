//! Faults of the operator's connections.

use crate::cli::Failure;
use crate::cli::faults::scene::Scene;
use crate::cli::faults::servers::until;

/// Resets connections in the middle of a request: after a part of it, or after all of it and before the answer. What was
/// sent on them is sent again, as senders do.
pub async fn reset(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    scene.begin();
    scene.load.reset_next(u64::from(times));
    until("the connections are reset", async || scene.load.resets_left() == 0).await?;
    scene.recover().await?;
    let (duplicates, errors) = (scene.answers.duplicates, scene.answers.with_status(400..=599));
    scene.note(format!("{duplicates} were booked although no answer came"));
    scene.demand(errors == 0, format!("{errors} answers were errors: {:?}", scene.answers.strange));
    scene.demand(duplicates > 0, "no request was carried out whose connection was reset");
    Ok(())
}
