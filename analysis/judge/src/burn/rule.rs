//! The rule of a check of the error budget, read from the plan's JSON.

use serde::Deserialize;

use super::{Action, BUDGET_MAX, LINES, Line};

/// How often the bet on few requests may be wrong, in an attempt.
const ALPHA: f64 = 0.01;
/// The longest window: what burns more slowly is for alerts, and not for a rollout.
const LONG_SECS_MAX: u32 = 3_600;
/// Default lines fire at the latest where this part of the requests fails, however lax the objective.
const FAILING_MOST: f64 = 0.5;

/// How fast a budget may burn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BurnRule {
    /// Which part of the requests may be bad.
    pub(crate) slo: f64,
    /// What part of a period's budget an attempt may spend.
    pub(crate) budget: f64,
    /// The lines of the gate; none is empty.
    pub(crate) lines: Vec<Line>,
    /// How often the bet on few requests may be wrong.
    pub(crate) alpha: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Document {
    burn: Written,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written {
    slo: f64,
    budget: Option<f64>,
    #[serde(default)]
    lines: Vec<WrittenLine>,
    alpha: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WrittenLine {
    long_seconds: u32,
    short_seconds: u32,
    rate: f64,
    action: WrittenAction,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum WrittenAction {
    RollBack,
    Hold,
}

// === impl BurnRule ===

impl BurnRule {
    /// Reads `{"burn": {"slo": …}}`; everything but the objective has a default.
    pub(crate) fn parse(json: &str) -> Result<Self, String> {
        let document: Document =
            serde_json::from_str(json).map_err(|error| format!("cannot read the rule: {error}"))?;
        let Written { slo, budget, lines, alpha } = document.burn;
        let rule = Self {
            slo: part("slo", slo)?,
            budget: part("budget", budget.unwrap_or(BUDGET_MAX))?,
            alpha: part("alpha", alpha.unwrap_or(ALPHA))?,
            lines: if lines.is_empty() {
                LINES.map(|line| reachable(line, slo)).to_vec()
            } else {
                lines.iter().map(|line| line.read(slo)).collect::<Result<_, _>>()?
            },
        };
        Ok(rule)
    }

    /// Returns the objective: the part of the requests that must be good.
    pub(crate) fn objective(&self) -> f64 {
        1.0 - self.slo
    }

    /// Returns the lowest rate at which the traffic goes back, where any line says so.
    pub(crate) fn lowest(&self) -> Option<f64> {
        let lines = self.lines.iter().filter(|line| line.action == Action::RollBack);
        lines.map(|line| line.threshold).reduce(f64::min)
    }

    /// Returns the longest window, in seconds.
    pub(crate) fn longest(&self) -> u32 {
        self.lines.iter().map(|line| line.long_secs).max().unwrap_or(0)
    }

    /// Returns the shortest window, in seconds.
    pub(crate) fn shortest(&self) -> u32 {
        self.lines.iter().map(|line| line.short_secs).min().unwrap_or(0)
    }

    /// Returns the `ln E` at which a bet is won.
    pub(crate) fn needed(&self) -> f64 {
        (1.0 / self.alpha).ln()
    }
}

/// A lax objective leaves so much budget that no rate of errors would reach the usual lines.
fn reachable(line: Line, slo: f64) -> Line {
    Line { threshold: line.threshold.min(FAILING_MOST / slo), ..line }
}

fn part(field: &str, value: f64) -> Result<f64, String> {
    if value > 0.0 && value < 1.0 {
        return Ok(value);
    }
    Err(format!("{field} must lie between 0 and 1, got {value}: it is a fraction, 0.01 is 1 %"))
}

// === impl WrittenLine ===

impl WrittenLine {
    fn read(&self, slo: f64) -> Result<Line, String> {
        let Self { long_seconds, short_seconds, rate, action } = self;
        if !(1..=LONG_SECS_MAX).contains(long_seconds) {
            return Err(format!(
                "longSeconds must lie between 1 and {LONG_SECS_MAX}, got {long_seconds}: what burns \
                 more slowly is for alerts"
            ));
        }
        if *short_seconds == 0 || short_seconds > long_seconds {
            return Err(format!(
                "shortSeconds must lie between 1 and longSeconds, got {short_seconds}: a twelfth is \
                 usual"
            ));
        }
        if !(*rate > 0.0 && rate * slo <= 1.0) {
            return Err(format!(
                "rate must lie above 0 and not above {}, got {rate}: faster than that nothing can \
                 burn",
                1.0 / slo
            ));
        }
        let action = match action {
            WrittenAction::RollBack => Action::RollBack,
            WrittenAction::Hold => Action::Hold,
        };
        Ok(Line { long_secs: *long_seconds, short_secs: *short_seconds, threshold: *rate, action })
    }
}
