//! The kernel: one bet on one window of counts.
//!
//! It promises that under its null hypothesis the stake does not grow on average, whatever the
//! shared error rate does. It never looks at a window before it has bet: everything but the counts
//! of bad requests must be fixed by the past.
//!
//! # What is bet on, and why nobody can win it under the null
//!
//! The null hypothesis says `p_c ≤ r·p_b + δ` at every moment: the side under test (c) fails at most
//! `r` times as often as the serving side (b), and δ more. For η > 1 the bet is against it. For
//! η < 1 the bet is against the mirror image, `p_c ≥ r·p_b + δ`, which is how non-inferiority is
//! shown. With `m_b` a guess of the serving side's rate that the past has fixed, `m_c = r·m_b + δ`:
//!
//! 1. A request of the side under test with the outcome y ∈ [0, 1] multiplies the stake by
//!    `1 + g_c·(y − m_c)`, one of the serving side by `1 − g_b·(y − m_b)`, where the two are tied
//!    by `n_b·g_b = r·n_c·g_c`. For a bad request (y = 1) of the side under test that is `a / D`
//!    and for a good one `1 / D`, with `D = 1 + (a − 1)·m_c` and `g_c = (a − 1) / D`; so
//!    `g_b = (a − 1) / (D·κ)` with `κ = n_b / (r·n_c)`.
//! 2. Requests being independent given the past, the expected product is the product of the
//!    expectations, and `1 + x ≤ eˣ` gives
//!    `E ≤ exp(n_c·g_c·(p_c − m_c) − n_b·g_b·(p_b − m_b)) = exp(n_c·g_c·(p_c − r·p_b − δ))`,
//!    which is at most 1 under the null, as `g_c` has the sign of the bet. The guess m_b cancels: a
//!    bad guess costs evidence, never validity. Only the average of each side's probabilities
//!    enters, so that requests may differ from each other, and `p_b` may move from one window to
//!    the next as it likes: an incident that both sides share is no evidence.
//! 3. Requests that fail together, in clusters of s ≤ φ: by the inequality of the geometric and the
//!    arithmetic mean `(∏ xᵢ)^(1/φ) ≤ (mean xᵢ)^(s/φ) ≤ 1 + (s/φ)·(mean xᵢ − 1)`, hence
//!    `E ≤ exp(Σ (E xᵢ − 1) / φ)`, the same bound: dividing the logarithm by φ pays for clusters.
//! 4. Fractional outcomes: `a^y ≤ 1 + y·(a − 1)` for y in [0, 1], so that a fractional count wins at
//!    most what its mean outcome would.
//! 5. The wealth over the windows is thus a non-negative supermartingale that begins at 1, and
//!    `P(it ever reaches 1/α) ≤ α` (Ville, 1939).
//!
//! What this needs, honestly: how many requests a window has must not depend on their outcomes
//! ("stop counting at the first error"), and apart from the clusters requests are independent given
//! the past.
//!
//! `a = η·(κ + 1) / (κ + η)` makes the bet the likelihood ratio of "the next error is the side under
//! test's" where errors are rare (m_b = δ = 0): each error is then a coin that lands on the side
//! under test with probability `1 / (1 + κ)` at the edge of the null and η times the odds under the
//! alternative. It is the two-sample test of Turner, Ly and Grünwald (2021), with the projection on
//! the null written as (m_b, η), so that no root has to be found.

use serde::{Deserialize, Serialize};

/// What both sides counted in one window, all processes of a side together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Bad requests of the side under test (`k_c`).
    pub test_bad: f64,
    /// All requests of the side under test (`n_c`).
    pub test_total: f64,
    /// Bad requests of the serving side (`k_b`).
    pub serving_bad: f64,
    /// All requests of the serving side (`n_b`).
    pub serving_total: f64,
}

/// How much worse is the edge of the null hypothesis: `ratio · p_b + absolute`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Margin {
    /// The factor on the serving side's rate (`r`); 0 for a limit that knows no serving side.
    pub ratio: f64,
    /// What is added (`δ`), a fraction of all requests.
    pub absolute: f64,
}

/// Nearer to 1 than this, a plain logarithm loses digits; it is the faster one.
const NEAR_ONE: f64 = 0.01;
/// How near to ruin the serving side's part of a bet may go: of `1 + g_b·m_b`, at least 5 % stay.
const STAKE_MAX: f64 = 0.95;

/// Returns the logarithm of what one window multiplies the stake of the strategy η by.
///
/// `expected` is m_b, the serving side's rate as the past predicts it (0 where errors are rare);
/// `phi ≥ 1` is how many errors come at once. Without requests of the side under test, without a
/// serving side that `margin` needs, or where the margin allows every request to fail, nothing is
/// bet: 0. η = 0 loses everything to one error: −∞. The counts must be finite, not negative, and no
/// more bad than there are.
///
/// Source: the derivation above.
#[must_use]
pub fn log_bet(sums: &Sums, margin: &Margin, eta: f64, expected: f64, phi: f64) -> f64 {
    let limit = margin.ratio * expected + margin.absolute;
    if sums.test_total <= 0.0 || limit >= 1.0 {
        return 0.0;
    }
    if margin.ratio <= 0.0 {
        let gain = eta - 1.0;
        let own = times_ln_1p(sums.test_bad, gain) - sums.test_total * (gain * limit).ln_1p();
        return own / phi;
    }
    if sums.serving_total <= 0.0 {
        return 0.0;
    }
    // 1/κ, so that neither a tiny nor a huge serving side divides by zero.
    let lean = margin.ratio * sums.test_total / sums.serving_total;
    // gain = a − 1: exact where a is near 1, and exactly −1 at η = 0.
    let mut gain = (eta - 1.0) / (1.0 + eta * lean);
    if gain < 0.0 && expected > 0.0 {
        let most = STAKE_MAX / (lean * expected);
        gain = gain.max(-most / (1.0 + most * limit));
    }
    let scale = gain * limit;
    let other = gain * lean / (1.0 + scale);
    let serving_good = sums.serving_total - sums.serving_bad;
    let own = times_ln_1p(sums.test_bad, gain) - times_ln_1p(sums.test_total, scale);
    let theirs = times_ln_1p(sums.serving_bad, -other * (1.0 - expected))
        + times_ln_1p(serving_good, other * expected);
    (own + theirs) / phi
}

/// `count · ln(1 + x)`, where nothing times −∞ is nothing.
fn times_ln_1p(count: f64, x: f64) -> f64 {
    if count == 0.0 || x == 0.0 {
        0.0
    } else if x.abs() < NEAR_ONE {
        count * x.ln_1p()
    } else {
        count * (1.0 + x).ln()
    }
}

// === impl Sums ===

impl Sums {
    /// Returns both sums added.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            test_bad: self.test_bad + other.test_bad,
            test_total: self.test_total + other.test_total,
            serving_bad: self.serving_bad + other.serving_bad,
            serving_total: self.serving_total + other.serving_total,
        }
    }

    /// Returns which part of the requests of the side under test is bad; none without requests.
    #[must_use]
    pub fn test_rate(&self) -> Option<f64> {
        (self.test_total > 0.0).then(|| self.test_bad / self.test_total)
    }

    /// Returns which part of the serving side's requests is bad; none without requests.
    #[must_use]
    pub fn serving_rate(&self) -> Option<f64> {
        (self.serving_total > 0.0).then(|| self.serving_bad / self.serving_total)
    }
}
