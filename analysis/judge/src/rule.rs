//! The rule of a check, read from the plan's JSON: a range in which its value must lie, or how what
//! was counted is judged.
//!
//! Never guesses: an unknown field, a limit that is no number or a range that holds nothing is refused.

use std::time::Duration;

use serde::Deserialize;

use crate::{burn::BurnRule, compare::Compare, gauge::GaugeRule, scored::ScoredRule, words};

/// How many looks of a threshold fall to one scrape at most: a sample is seen a fifth of a scrape after
/// it is there, and not up to a whole one.
const LOOKS_A_SCRAPE: u32 = 5;

/// How a check's answers are judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule(Form);

/// The forms of a rule.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Form {
    /// A value must lie in a range.
    Range(Range),
    /// Two sides are compared.
    Compare(Compare),
    /// An error budget must last.
    Burn(BurnRule),
    /// A gauge of two sides is compared.
    Gauge(GaugeRule),
    /// Metrics of two sides are scored.
    Score(ScoredRule),
}

/// What tells the forms apart.
#[derive(Default, Deserialize)]
struct Hint {
    compare: Option<serde::de::IgnoredAny>,
    burn: Option<serde::de::IgnoredAny>,
    gauge: Option<serde::de::IgnoredAny>,
    score: Option<serde::de::IgnoredAny>,
}

/// The range in which a value must lie; both ends pass.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Range {
    #[serde(default)]
    min: Option<f64>,
    #[serde(default)]
    max: Option<f64>,
    #[serde(default)]
    unit: Unit,
    #[serde(default)]
    min_samples: Option<f64>,
}

/// What the value is measured in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum Unit {
    /// A plain number.
    #[default]
    #[serde(rename = "")]
    Plain,
    /// A fraction, shown as percent: 0.05 is 5 %.
    #[serde(rename = "%")]
    Percent,
    /// Seconds, shown as milliseconds below one.
    #[serde(rename = "s")]
    Seconds,
}

// === impl Rule ===

impl Rule {
    /// Reads `{"min": number|null, "max": number|null, "unit": "%"|"s"|"", "minSamples": number|null}`,
    /// or `{"compare": {"kind": "errors"|"latency", …}}`, `{"burn": {"slo": number, …}}`,
    /// `{"gauge": {…}}`, `{"score": {"metrics": […], …}}`.
    ///
    /// With the unit `%`, `min` and `max` are fractions as the value is: 1 % is 0.01. To compare,
    /// everything but the kind has a default: `tolerance {relative, absolute}`,
    /// `margin {relative, harm}`, `alpha`, `beta`, `weight`, `minStepSeconds`, `minWindows`,
    /// `minSamples`, `slo` (the part of the requests that may be bad), `bound` (seconds above which
    /// that objective calls a request slow) and `unit`, which only confirms the kind. The error
    /// names the field, the value and the remedy.
    pub fn parse(json: &str) -> Result<Self, String> {
        let hint = serde_json::from_str::<Hint>(json).unwrap_or_default();
        let form = if hint.compare.is_some() {
            Form::Compare(Compare::parse(json)?)
        } else if hint.burn.is_some() {
            Form::Burn(BurnRule::parse(json)?)
        } else if hint.gauge.is_some() {
            Form::Gauge(GaugeRule::parse(json)?)
        } else if hint.score.is_some() {
            Form::Score(ScoredRule::parse(json)?)
        } else {
            Form::Range(Range::parse(json)?)
        };
        Ok(Self(form))
    }

    /// Returns whether two sides are compared by bets that share one chance of a false alarm.
    #[must_use]
    pub fn compares(&self) -> bool {
        matches!(self.0, Form::Compare(_))
    }

    /// Returns whether it is judged window by window, so that a source must count instead of measure.
    #[must_use]
    pub fn counts(&self) -> bool {
        match self.0 {
            Form::Range(_) => false,
            Form::Compare(_) | Form::Burn(_) | Form::Gauge(_) | Form::Score(_) => true,
        }
    }

    /// Returns how often a check with this interval is asked, where series are scraped so often.
    ///
    /// What is judged window by window has windows of this length, and none is shorter than a scrape. A
    /// threshold looks back over several scrapes: its looks may be closer, so that a new sample does not
    /// wait for the next scrape to be looked at. They overlap, and a limit counts no sample twice.
    #[must_use]
    pub fn pace(&self, interval: Duration, scrape: Duration) -> Duration {
        let shortest = if self.counts() { scrape } else { scrape / LOOKS_A_SCRAPE };
        interval.max(shortest)
    }

    pub(crate) fn form(&self) -> &Form {
        &self.0
    }
}

// === impl Range ===

impl Range {
    /// Reads a range.
    pub(crate) fn parse(json: &str) -> Result<Self, String> {
        let rule: Self =
            serde_json::from_str(json).map_err(|error| format!("cannot read the rule: {error}"))?;
        match (rule.min, rule.max) {
            (None, None) => return Err("a rule needs a limit: set min or max".to_owned()),
            (Some(min), Some(max)) if min > max => {
                return Err(format!("min {min} lies above max {max}: no value can pass"));
            }
            (Some(_), Some(_)) | (Some(_), None) | (None, Some(_)) => {}
        }
        match rule.min_samples {
            Some(least) if least < 0.0 => {
                Err(format!("minSamples must not be negative, got {least}"))
            }
            Some(_) | None => Ok(rule),
        }
    }

    /// Returns whether a value lies in the range; both ends included, infinities compared.
    pub(crate) fn holds(&self, value: f64) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }

    /// Returns below how many samples a value says nothing.
    pub(crate) fn min_samples(&self) -> Option<f64> {
        self.min_samples
    }

    /// Returns the unit as a finding carries it.
    pub(crate) fn unit(&self) -> &'static str {
        match self.unit {
            Unit::Plain => "",
            Unit::Percent => "%",
            Unit::Seconds => "s",
        }
    }

    /// Returns the range for people: `max 1 %`, `min 0.5, max 3`.
    pub(crate) fn limit_text(&self) -> String {
        let end = |word, limit: Option<f64>| {
            limit.map(|limit| format!("{word} {}", words::exact(limit, self.unit())))
        };
        let ends = [end("min", self.min), end("max", self.max)];
        ends.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}
