//! A request as bytes, before anything in it was decoded: what signatures are verified over and parsers read from.

/// The headers of a request, in order, names in any case, values as they came.
#[derive(Clone, Copy)]
pub struct Headers<'a>(pub &'a [(&'a str, &'a [u8])]);

/// A header that must be there once and as plain text came twice, or with other bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a header came twice, or is not plain text")]
pub struct HeaderError;

impl<'a> Headers<'a> {
    /// Every value of the header `name`.
    pub fn all(self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// The one value of the header `name`, trimmed.
    ///
    /// # Errors
    /// [`HeaderError`] when there are two, or it is not visible ASCII.
    pub fn single(self, name: &'a str) -> Result<Option<&'a str>, HeaderError> {
        let mut values = self.all(name);
        let Some(value) = values.next() else { return Ok(None) };
        let plain = value.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
        if values.next().is_some() || !plain {
            return Err(HeaderError);
        }
        std::str::from_utf8(value).map(|text| Some(text.trim())).map_err(|_| HeaderError)
    }
}

/// A request as it arrived, before anything in it was decoded.
#[derive(Clone, Copy)]
pub struct RawRequest<'a> {
    /// `GET` or `POST`, in capitals.
    pub method: &'a str,
    /// What stands after the `?`, without it.
    pub raw_query: &'a [u8],
    /// The headers.
    pub headers: Headers<'a>,
    /// The body; empty if there is none.
    pub body: &'a [u8],
}
