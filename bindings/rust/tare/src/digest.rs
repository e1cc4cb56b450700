//! Digests of tensors.

use std::fmt;
use std::str::FromStr;

use tare_sys as sys;

/// An XXH3-128 digest. It tells damage, and not an attack. As text it is 32 hexadecimal digits,
/// which is what `xxhsum -H128` and `tare hash` print.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Digest(sys::tare_digest);

impl From<sys::tare_digest> for Digest {
    fn from(raw: sys::tare_digest) -> Self {
        Self(raw)
    }
}

impl From<u128> for Digest {
    fn from(number: u128) -> Self {
        Self(sys::tare_digest { low: number as u64, high: (number >> 64) as u64 })
    }
}

impl From<Digest> for u128 {
    fn from(digest: Digest) -> Self {
        u128::from(digest.0.high) << 64 | u128::from(digest.0.low)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from(*self))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = crate::Error;

    fn from_str(text: &str) -> crate::Result<Self> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u128::from_str_radix(text, 16) {
            Ok(number) if is_hex => Ok(number.into()),
            _ => {
                Err(crate::Error::new(crate::Status::Argument, "a digest is 32 hexadecimal digits"))
            }
        }
    }
}
