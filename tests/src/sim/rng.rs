//! Dice that fall the same way for the same seed, on every machine.

/// A splitmix64 generator.
#[derive(Clone, Debug)]
pub struct Rng(u64);

// === impl Rng ===

impl Rng {
    /// Makes dice from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// Returns a number from `low` up to, but not including, `high`.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % high.saturating_sub(low).max(1)
    }

    /// Returns true so many times in a thousand.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.range(0, 1_000) < permille
    }

    /// Picks one, where it cannot be copied.
    pub fn pick_ref<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let at = usize::try_from(self.range(0, from.len() as u64)).unwrap_or(0);
        &from[at]
    }

    /// Picks one.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let at = usize::try_from(self.range(0, from.len() as u64)).unwrap_or(0);
        from[at]
    }
}
