//! Shares of traffic.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A share of traffic, in basis points: 10 000 is all of it.
///
/// Invariant: never above [`Weight::FULL`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "u32", into = "u32")]
pub struct Weight(u16);

/// A number that is not a share of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightError(pub u32);

// === impl Weight ===

impl Weight {
    /// No traffic.
    pub const ZERO: Self = Self(0);
    /// All traffic.
    pub const FULL: Self = Self(10_000);

    /// Makes a share from basis points; fails above 10 000.
    pub fn from_basis_points(points: u32) -> Result<Self, WeightError> {
        match u16::try_from(points) {
            Ok(share) if share <= Self::FULL.0 => Ok(Self(share)),
            Ok(_) | Err(_) => Err(WeightError(points)),
        }
    }

    /// Makes a share from whole percent; fails above 100.
    pub fn from_percent(percent: u32) -> Result<Self, WeightError> {
        Self::from_basis_points(percent.saturating_mul(100))
    }

    /// Returns the share in basis points.
    #[must_use]
    pub fn basis_points(self) -> u16 {
        self.0
    }

    /// Returns the share as a fraction between 0 and 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(Self::FULL.0)
    }

    /// Returns the share that is left for the other side.
    #[must_use]
    pub fn complement(self) -> Self {
        Self(Self::FULL.0 - self.0)
    }

    /// Returns how far two shares lie apart.
    #[must_use]
    pub fn distance(self, other: Self) -> Self {
        Self(self.0.abs_diff(other.0))
    }
}

impl TryFrom<u32> for Weight {
    type Error = WeightError;

    fn try_from(points: u32) -> Result<Self, WeightError> {
        Self::from_basis_points(points)
    }
}

impl From<Weight> for u32 {
    fn from(weight: Weight) -> Self {
        Self::from(weight.0)
    }
}

/// Percent with as many decimals as needed, and its sign: `25 %`, `0.5 %`.
impl fmt::Display for Weight {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 100, self.0 % 100);
        match rest {
            0 => write!(out, "{whole} %"),
            _ if rest % 10 == 0 => write!(out, "{whole}.{} %", rest / 10),
            _ => write!(out, "{whole}.{rest:02} %"),
        }
    }
}

// === impl WeightError ===

impl fmt::Display for WeightError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a share must lie between 0 and 10000 basis points, got {}", self.0)
    }
}

impl std::error::Error for WeightError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_share_exceeds_all_traffic() {
        assert!(Weight::from_basis_points(10_000).is_ok());
        assert_eq!(Weight::from_basis_points(10_001), Err(WeightError(10_001)));
        assert_eq!(Weight::from_percent(101), Err(WeightError(10_100)));
        assert_eq!(Weight::from_percent(u32::MAX), Err(WeightError(u32::MAX)));
    }

    #[test]
    fn shares_read_as_percent() {
        let show = |points| Weight::from_basis_points(points).unwrap().to_string();
        assert_eq!([show(0), show(2_500), show(50), show(1)], ["0 %", "25 %", "0.5 %", "0.01 %"]);
    }

    #[test]
    fn a_complement_and_its_share_are_everything() {
        for points in 0..=10_000 {
            let share = Weight::from_basis_points(points).unwrap();
            assert_eq!(share.basis_points() + share.complement().basis_points(), 10_000);
        }
    }
}
