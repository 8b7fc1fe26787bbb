//! A cursor over untrusted bytes: every read is checked, nothing is allocated for a length that is only declared.

/// The bytes are not what the format says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bad;

/// The bytes that are left.
#[derive(Debug, Clone)]
pub(super) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Reader<'b> {
        Reader { rest: bytes }
    }

    pub(super) fn rest(&self) -> &'b [u8] {
        self.rest
    }

    /// The next byte, if any.
    pub(super) fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Result<u8, Bad> {
        self.next().ok_or(Bad)
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'b [u8], Bad> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Bad)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next N bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Bad)?;
        self.rest = rest;
        Ok(*taken)
    }
}
