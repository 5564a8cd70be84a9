//! Two proportions compared once: what is right for one look, and wrong when looked at every minute.

use haldane_judge::ranks::normal_tail;

use super::gamma::{ln_beta, ln_choose};

/// Bad requests and all requests of both sides.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Bad requests of the side under test.
    pub test_bad: f64,
    /// All requests of the side under test.
    pub test_total: f64,
    /// Bad requests of the serving side.
    pub serving_bad: f64,
    /// All requests of the serving side.
    pub serving_total: f64,
}

// === impl Table ===

impl Table {
    /// Returns the pooled z statistic; 0 where nothing differs or a side is empty.
    #[must_use]
    pub fn z(&self) -> f64 {
        let pooled = (self.test_bad + self.serving_bad) / (self.test_total + self.serving_total);
        let variance = pooled * (1.0 - pooled) * (1.0 / self.test_total + 1.0 / self.serving_total);
        let apart = self.test_bad / self.test_total - self.serving_bad / self.serving_total;
        if variance > 0.0 && variance.is_finite() { apart / variance.sqrt() } else { 0.0 }
    }

    /// Returns the one-sided chance of a z this high.
    #[must_use]
    pub fn z_tail(&self) -> f64 {
        normal_tail(self.z())
    }

    /// Returns Fisher's exact one-sided chance.
    #[must_use]
    pub fn fisher(&self) -> f64 {
        let bad = self.test_bad + self.serving_bad;
        let all = ln_choose(self.test_total + self.serving_total, bad);
        let most = bad.min(self.test_total) as u64;
        (self.test_bad as u64..=most)
            .map(|ours| {
                let ours = ours as f64;
                let ways =
                    ln_choose(self.test_total, ours) + ln_choose(self.serving_total, bad - ours);
                (ways - all).exp()
            })
            .sum()
    }

    /// Returns the logarithm of the odds of "two rates" against "one rate", each uniform before.
    #[must_use]
    pub fn ln_bayes_factor(&self) -> f64 {
        let one = |bad: f64, total: f64| ln_beta(1.0 + bad, 1.0 + total - bad);
        one(self.test_bad, self.test_total) + one(self.serving_bad, self.serving_total)
            - one(self.test_bad + self.serving_bad, self.test_total + self.serving_total)
    }

    /// Returns the chance that the side under test has the higher rate, each Beta(0.1, 0.1) before:
    /// what Iter8 decided by. Numerically, over the logits of the test side's rate.
    #[must_use]
    pub fn chance_higher(&self) -> f64 {
        let ours = Beta::after(self.test_bad, self.test_total);
        let theirs = Beta::after(self.serving_bad, self.serving_total);
        // ∫ f_c(x) F_b(x) dx on one grid of logits: F_b is summed as x rises, by halves of each cell.
        let (steps, reach) = (200_000, 400.0);
        let width = 2.0 * reach / f64::from(steps);
        let (mut below, mut chance) = (0.0, 0.0);
        for step in 0..steps {
            let logit = -reach + (f64::from(step) + 0.5) * width;
            let mass = theirs.density_of_logit(logit) * width;
            chance += ours.density_of_logit(logit) * width * (below + mass / 2.0);
            below += mass;
        }
        chance
    }
}

struct Beta {
    bad: f64,
    good: f64,
    ln_norm: f64,
}

// === impl Beta ===

impl Beta {
    fn after(bad: f64, total: f64) -> Self {
        let (bad, good) = (0.1 + bad, 0.1 + total - bad);
        Self { bad, good, ln_norm: ln_beta(bad, good) }
    }

    /// The density of ln(x/(1−x)): x^a (1−x)^b / B(a, b).
    fn density_of_logit(&self, logit: f64) -> f64 {
        let ln_x = -(-logit).exp().ln_1p();
        let ln_rest = -logit.exp().ln_1p();
        (self.bad * ln_x + self.good * ln_rest - self.ln_norm).exp()
    }
}
