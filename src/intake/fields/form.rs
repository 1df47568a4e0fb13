//! A query string, or a form body: `name=value` joined by `&`, percent-encoded, `+` for a space.

use super::{Field, macros, refuse_control_characters};
use crate::domain::encoding::hex_digit;
use crate::domain::verdict::{Code, Rejection, Warning, WarningCode};

/// What HTML makes of `&currency=`: the entity `&curren` becomes `¤`, and the `&` is gone with it.
const CURRENCY_ENTITIES: [&[u8]; 2] = ["¤cy=".as_bytes(), b"%C2%A4cy="];

/// Reads the pairs in order. Empty segments, as in `a=1&&b=2`, are skipped.
pub(super) fn read(raw: &[u8], warnings: &mut Vec<Warning>) -> Result<Vec<Field>, Rejection> {
    let mut fields = Vec::new();
    for segment in raw.split(|byte| *byte == b'&') {
        let (segment, currency) = split_currency_entity(segment);
        if !segment.is_empty() {
            let mut halves = segment.splitn(2, |byte| *byte == b'=');
            let name = halves.next().unwrap_or_default();
            fields.push(read_pair(name, halves.next().unwrap_or_default())?);
        }
        if let Some(value) = currency {
            warnings.push(Warning::of_field(WarningCode::CurrencyEntity, "currency"));
            fields.push(read_pair(b"currency", value)?);
        }
    }
    Ok(fields)
}

/// What stands before a `¤cy=`, and the value after it.
pub(super) fn split_currency_entity(segment: &[u8]) -> (&[u8], Option<&[u8]>) {
    let found = CURRENCY_ENTITIES.iter().find_map(|entity| {
        let at = segment.windows(entity.len()).position(|part| part.eq_ignore_ascii_case(entity))?;
        let (before, rest) = segment.split_at_checked(at)?;
        Some((before, rest.get(entity.len()..)))
    });
    found.unwrap_or((segment, None))
}

fn read_pair(raw_name: &[u8], raw_value: &[u8]) -> Result<Field, Rejection> {
    let name = decode(raw_name).ok_or(Code::Encoding)?;
    if name.is_empty() {
        return Err(Rejection::new(Code::Malformed).because("A parameter has no name."));
    }
    // Macros are looked for in the raw text first: decoded, `%AD_ID%` would be a broken byte and no macro.
    let raw_text = String::from_utf8_lossy(raw_value);
    if macros::is_unexpanded(&raw_text) {
        return Err(Rejection::of_field(Code::UnexpandedMacro, &name));
    }
    let Some(value) = decode(raw_value) else {
        let code = if macros::has_percent_macro(&raw_text) { Code::UnexpandedMacro } else { Code::Encoding };
        return Err(Rejection::of_field(code, &name));
    };
    // Senders' HTTP libraries often encode the braces.
    if macros::is_unexpanded(&value) {
        return Err(Rejection::of_field(Code::UnexpandedMacro, &name));
    }
    refuse_control_characters(&name, &value)?;
    Ok(Field { name, value })
}

/// Percent-decodes once; `None` for a broken escape or what is not UTF-8 afterwards.
fn decode(raw: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => hex_digit(*rest.next()?)? << 4 | hex_digit(*rest.next()?)?,
            other => *other,
        });
    }
    String::from_utf8(bytes).ok()
}
