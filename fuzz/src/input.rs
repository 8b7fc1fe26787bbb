//! A program is read from the fuzzer's bytes, one choice at a time. When they end, every choice is zero.

/// What is left of the fuzzer's bytes.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// All of the bytes.
    pub fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { rest: bytes }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// So many bytes, or as many as there are.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        head
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    /// A number below `bound`, which is not 0. Takes as many bytes as the bound needs.
    pub fn below(&mut self, bound: usize) -> usize {
        let mut number = 0;
        let mut range = bound - 1;
        while range > 0 {
            number = number << 8 | usize::from(self.byte());
            range >>= 8;
        }
        number % bound
    }
}
