//! Tables in Markdown, and how sure a number in them is.

use std::fmt;

/// How often something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How often.
    pub hits: usize,
    /// Of how many.
    pub of: usize,
}

/// When something happened, where it did.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<f64>, usize);

// === impl Rate ===

impl Rate {
    /// Counts.
    pub fn count(happened: impl IntoIterator<Item = bool>) -> Self {
        let (mut hits, mut of) = (0, 0);
        for happened in happened {
            hits += usize::from(happened);
            of += 1;
        }
        Self { hits, of }
    }

    /// Returns the part.
    #[must_use]
    pub fn part(&self) -> f64 {
        self.hits as f64 / self.of as f64
    }

    /// Returns the interval that covers the truth with 95 % (Wilson, 1927).
    #[must_use]
    pub fn wilson(&self) -> (f64, f64) {
        let (n, p, z) = (self.of as f64, self.part(), 1.959_964);
        let middle = p + z * z / (2.0 * n);
        let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
        let whole = 1.0 + z * z / n;
        // Rounding leaves a trace of both ends where nothing, or everything, happened.
        let low = if self.hits == 0 { 0.0 } else { (middle - half) / whole };
        let high = if self.hits == self.of { 1.0 } else { (middle + half) / whole };
        (low, high)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = self.wilson();
        write!(out, "{} ({}–{})", percent(self.part()), bare(low * 100.0), bare(high * 100.0))
    }
}

// === impl Times ===

impl Times {
    /// Collects when it happened.
    pub fn of(times: impl IntoIterator<Item = Option<f64>>) -> Self {
        let mut all = 0;
        let mut seen: Vec<f64> = times.into_iter().inspect(|_| all += 1).flatten().collect();
        seen.sort_by(f64::total_cmp);
        Self(seen, all)
    }

    /// Returns when it had happened in this part of all rollouts; `None` where it never came to that.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let at = (share * self.1 as f64).ceil().max(1.0) as usize - 1;
        self.0.get(at).copied()
    }

    /// Returns in which part it happened at all.
    #[must_use]
    pub fn found(&self) -> Rate {
        Rate { hits: self.0.len(), of: self.1 }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at =
            |share| self.quantile(share).map_or_else(|| "–".to_owned(), |at| format!("{at:.0}"));
        let times = [at(0.1), at(0.5), at(0.9)];
        if times.iter().all(|time| time == "–") {
            return write!(out, "found in {}", self.found());
        }
        if times[0] == times[2] {
            write!(out, "{}", times[0])?;
        } else {
            write!(out, "{}", times.join("/"))?;
        }
        let found = self.found();
        if found.hits < found.of { write!(out, "; found in {found}") } else { Ok(()) }
    }
}

/// Shows a part in percent.
#[must_use]
pub fn percent(part: f64) -> String {
    format!("{} %", bare(part * 100.0))
}

fn bare(number: f64) -> String {
    // As many digits as tell it from 0 and from 100.
    let digits = match number {
        0.0 | 99.995.. => 0,
        ..1.0 => 3,
        ..10.0 | 99.9.. => 2,
        _ => 1,
    };
    format!("{number:.digits$}")
}

/// Lays out a table.
#[must_use]
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    let mut out = line(heads.to_vec());
    out.push_str(&line(vec!["---"; heads.len()]));
    for row in rows {
        out.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    out
}
