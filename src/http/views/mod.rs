//! How what was stored looks to people, a file for each subject. Amounts get their currency's decimals here.
//!
//! What is shown is written out field by field, although storage has types much like these: a column that is added there
//! reaches nobody before somebody adds it here, with a sentence for the document.

mod commissions;
mod conversions;
mod deliveries;
mod payouts;
mod receipts;
mod replays;

pub use self::commissions::{Commission, Explained};
pub use self::conversions::{Conversion, OwnConversion};
pub use self::deliveries::{Acknowledgement, Delivery};
pub use self::payouts::{OwnPayout, Payout, PayoutDetails, PayoutItem, PayoutTerms, PayoutTermsList};
pub use self::receipts::{JudgedReceipt, Receipt};
pub use self::replays::Replay;

use crate::domain::money::{Amount, Currency, Money};

fn text(amount: Amount, currency: Currency) -> String {
    Money { amount, currency }.amount_text()
}
