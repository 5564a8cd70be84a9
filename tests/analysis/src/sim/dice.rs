//! Dice that fall the same way for the same seed: uniform, normal, Poisson, binomial, geometric.
//!
//! Written out here, so that a table does not change with a library's version.

use std::f64::consts::PI;

use crate::methods::gamma::ln_gamma;

/// A generator: xoshiro256++ (Blackman and Vigna, 2019), seeded by splitmix64.
#[derive(Clone, Debug)]
pub struct Dice([u64; 4]);

// === impl Dice ===

impl Dice {
    /// Makes the dice of one rollout of one table.
    #[must_use]
    pub fn new(seed: u64, rollout: u64) -> Self {
        let mut state = seed.wrapping_mul(0xD134_2543_DE82_EF95) ^ rollout.rotate_left(32);
        Self(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let word = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            word ^ (word >> 31)
        }))
    }

    fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// Returns a number above 0 and below 1.
    pub fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Returns a standard normal number (Box and Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (2.0 * PI * self.uniform()).cos()
    }

    /// Returns how many trials a success of the chance `1/mean` takes.
    pub fn geometric(&mut self, mean: f64) -> f64 {
        if mean <= 1.0 {
            return 1.0;
        }
        (self.uniform().ln() / (-1.0 / mean).ln_1p()).ceil().max(1.0)
    }

    /// Returns how many rare things happened: by inversion, or Hörmann's rejection (1993).
    pub fn poisson(&mut self, mean: f64) -> f64 {
        if mean <= 0.0 {
            return 0.0;
        }
        if mean < 12.0 {
            return self.poisson_by_inversion(mean);
        }
        let b = 0.931 + 2.53 * mean.sqrt();
        let a = -0.059 + 0.024_83 * b;
        let scale = 1.1239 + 1.1328 / (b - 3.4);
        let sure = 0.9277 - 3.6224 / (b - 2.0);
        loop {
            let (u, v) = (self.uniform() - 0.5, self.uniform());
            let near = 0.5 - u.abs();
            let k = ((2.0 * a / near + b) * u + mean + 0.43).floor();
            if near >= 0.07 && v <= sure {
                return k;
            }
            if k < 0.0 || (near < 0.013 && v > near) {
                continue;
            }
            let ln_v = v.ln() + scale.ln() - (a / (near * near) + b).ln();
            if ln_v <= k * mean.ln() - mean - ln_gamma(k + 1.0) {
                return k;
            }
        }
    }

    fn poisson_by_inversion(&mut self, mean: f64) -> f64 {
        let (mut k, mut mass, mut rest) = (0.0, (-mean).exp(), self.uniform());
        while rest > mass && k < 200.0 {
            rest -= mass;
            k += 1.0;
            mass *= mean / k;
        }
        k
    }

    /// Returns how many of n trials succeed: by inversion, or Hörmann's rejection (1993).
    pub fn binomial(&mut self, n: f64, p: f64) -> f64 {
        if n <= 0.0 || p <= 0.0 {
            return 0.0;
        }
        if p > 0.5 {
            return n - self.binomial(n, 1.0 - p);
        }
        if n * p < 12.0 {
            return self.binomial_by_inversion(n, p);
        }
        let spread = (n * p * (1.0 - p)).sqrt();
        let b = 1.15 + 2.53 * spread;
        let a = -0.0873 + 0.0248 * b + 0.01 * p;
        let sure = 0.92 - 4.2 / b;
        let scale = (2.83 + 5.1 / b) * spread;
        let mode = ((n + 1.0) * p).floor();
        let top = ln_gamma(mode + 1.0) + ln_gamma(n - mode + 1.0);
        loop {
            let (u, v) = (self.uniform() - 0.5, self.uniform());
            let near = 0.5 - u.abs();
            let k = ((2.0 * a / near + b) * u + n * p + 0.5).floor();
            if near >= 0.07 && v <= sure {
                return k;
            }
            if !(0.0..=n).contains(&k) {
                continue;
            }
            let ln_v = (v * scale / (a / (near * near) + b)).ln();
            let odds = (k - mode) * (p / (1.0 - p)).ln();
            if ln_v <= top - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0) + odds {
                return k;
            }
        }
    }

    fn binomial_by_inversion(&mut self, n: f64, p: f64) -> f64 {
        let odds = p / (1.0 - p);
        let (mut k, mut mass, mut rest) = (0.0, (n * (-p).ln_1p()).exp(), self.uniform());
        while rest > mass && k < n {
            rest -= mass;
            mass *= odds * (n - k) / (k + 1.0);
            k += 1.0;
        }
        k
    }
}
