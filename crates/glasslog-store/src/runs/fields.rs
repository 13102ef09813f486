//! The fields of a manifest, one after the other.

/// What is left to decode.
pub struct Fields<'a>(&'a [u8]);

/// There are fewer bytes than the field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is too short")]
pub struct TooShort;

impl From<TooShort> for String {
    fn from(error: TooShort) -> String {
        error.to_string()
    }
}

impl<'a> Fields<'a> {
    /// The fields in `bytes`.
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Fields<'a> {
        Fields(bytes)
    }

    /// How many bytes are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.0.len()
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    ///
    /// [`TooShort`].
    pub fn take<const N: usize>(&mut self) -> Result<[u8; N], TooShort> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(TooShort)?;
        self.0 = rest;
        Ok(*field)
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    ///
    /// [`TooShort`].
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], TooShort> {
        let (field, rest) = self.0.split_at_checked(length).ok_or(TooShort)?;
        self.0 = rest;
        Ok(field)
    }

    /// A big-endian number of four bytes.
    ///
    /// # Errors
    ///
    /// [`TooShort`].
    pub fn u32(&mut self) -> Result<u32, TooShort> {
        self.take().map(u32::from_be_bytes)
    }

    /// A big-endian number of eight bytes.
    ///
    /// # Errors
    ///
    /// [`TooShort`].
    pub fn u64(&mut self) -> Result<u64, TooShort> {
        self.take().map(u64::from_be_bytes)
    }
}
