//! When each source was last heard, as this instance knows it: noted in memory with each batch, written down by the
//! alert watch with each round. A crash forgets the last round's notes, which the next postback makes good.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::ids::SourceId;
use crate::domain::time::Timestamp;

/// The notes. As many as there are sources that sent since they were last taken.
#[derive(Debug, Default)]
pub struct Heard(Mutex<HashMap<SourceId, Timestamp>>);

impl Heard {
    /// Notes that these sources were heard at `now`.
    pub fn note(&self, sources: impl IntoIterator<Item = SourceId>, now: Timestamp) {
        let mut notes = self.notes();
        for source in sources {
            let noted = notes.entry(source).or_insert(now);
            *noted = now.max(*noted);
        }
    }

    /// Takes all notes.
    pub fn take(&self) -> Vec<(SourceId, Timestamp)> {
        std::mem::take(&mut *self.notes()).into_iter().collect()
    }

    fn notes(&self) -> MutexGuard<'_, HashMap<SourceId, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_time_is_kept_until_it_is_taken() {
        let heard = Heard::default();
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let source = SourceId::new(at(0));
        heard.note([source, source], at(5));
        heard.note([source], at(4));
        assert_eq!(heard.take(), [(source, at(5))]);
        assert_eq!(heard.take(), []);
    }
}
