//! What was fired when, and what became of it: shared by the sender, which writes it, and the receivers, which look up
//! how long a postback took. One word for each postback and no lock.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Postbacks in one piece of the book.
const PIECE: u64 = 65_536;
/// Pieces, made when they are needed: 268 million postbacks.
const PIECES: usize = 4_096;
/// The low bits of a word: how many times it was answered `accepted` …
const ACCEPTED: u64 = 0b0011_1111;
/// … whether any answer acknowledged it …
const ACKNOWLEDGED: u64 = 0b0100_0000;
/// … and from here on when it was first due or fired, in microseconds and never 0.
const TIME_SHIFT: u32 = 8;

/// The book.
pub struct Book {
    event_prefix: String,
    began: Instant,
    pieces: Vec<OnceLock<Box<[AtomicU64]>>>,
    /// How many different postbacks were acknowledged, by affiliate.
    acknowledged: Vec<AtomicU64>,
}

/// What is known of one postback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// When it was first due or fired, in microseconds since the book began; 0 for never.
    pub fired_micros: u64,
    /// Whether any answer acknowledged it.
    pub acknowledged: bool,
    /// How many answers were `accepted`: more than one means booked twice.
    pub accepted: u64,
}

impl Book {
    /// An empty book for postbacks that go round so many affiliates; what their event ids begin with tells them from
    /// others'.
    pub fn new(event_prefix: String, affiliates: usize) -> Self {
        let acknowledged = (0..affiliates).map(|_| AtomicU64::new(0)).collect();
        let pieces = (0..PIECES).map(|_| OnceLock::new()).collect();
        Self { event_prefix, began: Instant::now(), pieces, acknowledged }
    }

    /// What the event id of every postback begins with.
    pub fn event_prefix(&self) -> &str {
        &self.event_prefix
    }

    /// Microseconds since the book began; never 0.
    pub fn micros(&self) -> u64 {
        self.micros_at(Instant::now())
    }

    /// The same for a time that was taken before.
    pub fn micros_at(&self, time: Instant) -> u64 {
        u64::try_from(time.duration_since(self.began).as_micros()).unwrap_or(u64::MAX).max(1)
    }

    /// How many affiliates there are.
    pub fn affiliates(&self) -> usize {
        self.acknowledged.len()
    }

    /// The affiliate whose postback it is.
    pub fn affiliate_of(&self, number: u64) -> usize {
        index(number) % self.acknowledged.len().max(1)
    }

    /// Notes when a postback was first due or fired.
    pub fn fire(&self, number: u64, micros: u64) {
        if let Some(word) = self.word(number) {
            word.store(micros << TIME_SHIFT, Ordering::Relaxed);
        }
    }

    /// Notes an answer that acknowledged a postback.
    pub fn acknowledge(&self, number: u64, accepted: bool) {
        let Some(word) = self.word(number) else { return };
        if accepted && word.load(Ordering::Relaxed) & ACCEPTED != ACCEPTED {
            word.fetch_add(1, Ordering::Relaxed);
        }
        let before = word.fetch_or(ACKNOWLEDGED, Ordering::Relaxed);
        if before & ACKNOWLEDGED == 0
            && let Some(count) = self.acknowledged.get(self.affiliate_of(number))
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many different postbacks of an affiliate were acknowledged.
    pub fn acknowledged(&self, affiliate: usize) -> u64 {
        self.acknowledged.get(affiliate).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// What is known of a postback.
    pub fn entry(&self, number: u64) -> Entry {
        let word = self.pieces.get(index(number / PIECE)).and_then(OnceLock::get);
        let word = word.and_then(|piece| piece.get(index(number % PIECE)));
        let word = word.map_or(0, |word| word.load(Ordering::Relaxed));
        Entry { fired_micros: word >> TIME_SHIFT, acknowledged: word & ACKNOWLEDGED != 0, accepted: word & ACCEPTED }
    }

    /// The number of the postback whose event id stands somewhere in `bytes`.
    pub fn number_in(&self, bytes: &[u8]) -> Option<u64> {
        let prefix = self.event_prefix.as_bytes();
        let at = bytes.windows(prefix.len()).position(|part| part == prefix)?;
        let rest = bytes.get(at + prefix.len()..)?;
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()
    }

    fn word(&self, number: u64) -> Option<&AtomicU64> {
        let piece = self.pieces.get(index(number / PIECE))?;
        piece.get_or_init(|| (0..PIECE).map(|_| AtomicU64::new(0)).collect()).get(index(number % PIECE))
    }
}

/// A number as a place in a list.
pub fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_postback_is_fired_once_and_may_be_answered_often() {
        let book = Book::new("t".into(), 2);
        let number = PIECE * 3 + 1;
        assert_eq!(book.entry(number), Entry::default());
        book.fire(number, 77);
        assert_eq!(book.entry(number), Entry { fired_micros: 77, ..Entry::default() });
        book.acknowledge(number, true);
        book.acknowledge(number, false);
        assert_eq!(book.entry(number), Entry { fired_micros: 77, acknowledged: true, accepted: 1 });
        assert_eq!((book.acknowledged(0), book.acknowledged(1)), (0, 1), "counted once, for its affiliate");
        (0..100).for_each(|_| book.acknowledge(number, true));
        assert_eq!(book.entry(number).accepted, ACCEPTED, "the count ends, the flags stay");
        assert_eq!(book.entry(number).fired_micros, 77);
    }
}
