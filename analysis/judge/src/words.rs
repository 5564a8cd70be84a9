//! Findings in words: numbers with their units, and one sentence for each verdict.
//!
//! Values are rounded to three digits, more where rounding would make a broken limit look kept.
//! Limits are shown as they were written.

use haldane_model::{Finding, Verdict};

/// Above which odds only their size matters.
const ODDS_TOLD: f64 = 1_000.0;
/// Below this every whole number is shown as it is.
const WHOLE_MAX: f64 = 1e15;

/// Says in a sentence what was found: `errors was 5.2 % over 1 240 samples, limit max 1 %`.
#[must_use]
pub fn sentence(finding: &Finding) -> String {
    let check = &finding.check;
    let because = |text: &str| match &finding.message {
        Some(message) => format!("{check} {text}: {message}"),
        None => format!("{check} {text}"),
    };
    if let (Some(_), Verdict::Pass | Verdict::Fail { .. }) = (&finding.compared, finding.verdict) {
        let word = if finding.verdict == Verdict::Pass { "passes" } else { "fails" };
        return because(word);
    }
    match finding.verdict {
        Verdict::Pass | Verdict::Fail { .. } => match &finding.message {
            Some(message) => format!("{} ({message})", measured(finding)),
            None => measured(finding),
        },
        Verdict::Inconclusive { .. } => because("is inconclusive"),
        Verdict::NoData => because("has no data"),
        Verdict::SourceError => because("could not be measured"),
        Verdict::CanaryLost => because("lost the side under test"),
    }
}

fn measured(finding: &Finding) -> String {
    let value = match (finding.value, &finding.limit) {
        (Some(value), Some(limit)) => apart(value, &finding.unit, limit, finding.verdict),
        (Some(value), None) => rounded(value, &finding.unit, 3),
        (None, _) => "not a finite number".to_owned(),
    };
    let over = finding.samples.map(|samples| format!(" over {} samples", count(samples)));
    let limit = finding.limit.as_ref().map(|limit| format!(", limit {limit}"));
    let (over, limit) = (over.unwrap_or_default(), limit.unwrap_or_default());
    format!("{} was {value}{over}{limit}", finding.check)
}

/// Rounds a value, but keeps a broken limit and the value that broke it apart.
fn apart(value: f64, unit: &str, limit: &str, verdict: Verdict) -> String {
    let same = |text: &String| {
        matches!(verdict, Verdict::Fail { .. })
            && limit.split(", ").any(|end| end.split_once(' ').is_some_and(|(_, end)| end == text))
    };
    let texts = [3, 5, 8, 12, 17].map(|digits| rounded(value, unit, digits));
    let [.., last] = &texts;
    texts.iter().find(|text| !same(text)).unwrap_or(last).clone()
}

/// Shows odds, rounded down, so that they never look met where they are not: `14:1`, `0.4:1`,
/// `>1 000:1`.
#[must_use]
pub fn odds(odds: f64) -> String {
    if odds >= ODDS_TOLD {
        return format!(">{}:1", count(ODDS_TOLD));
    }
    let odds = if odds >= 10.0 { odds.floor() } else { (odds * 10.0).floor() / 10.0 };
    format!("{}:1", rounded(odds, "", 3))
}

/// Shows a limit without rounding it.
pub(crate) fn exact(value: f64, unit: &str) -> String {
    rounded(value, unit, 15)
}

/// Shows how many: a whole number in groups of three.
pub(crate) fn count(number: f64) -> String {
    digits(number.round(), 17)
}

/// A fraction as percent.
pub(crate) fn rate(rate: f64) -> String {
    rounded(rate, "%", 3)
}

/// A number with three digits.
pub(crate) fn plain(number: f64) -> String {
    rounded(number, "", 3)
}

/// A time for people: `45 s`, `2m00s`, `1h05m`.
pub(crate) fn span(secs: f64) -> String {
    let whole = secs.round().clamp(0.0, 1e12);
    let (hours, minutes) = ((whole / 3_600.0).floor(), (whole / 60.0).floor());
    if whole < 120.0 {
        format!("{whole} s")
    } else if hours < 1.0 {
        format!("{minutes}m{:02}s", whole - minutes * 60.0)
    } else {
        format!("{hours}h{:02}m", minutes - hours * 60.0)
    }
}

pub(crate) fn rounded(value: f64, unit: &str, significant: usize) -> String {
    let (value, unit) = match unit {
        "%" => (value * 100.0, " %"),
        "s" if value != 0.0 && value.abs() < 1.0 => (value * 1_000.0, " ms"),
        "s" => (value, " s"),
        _ => (value, ""),
    };
    format!("{}{unit}", digits(value, significant))
}

/// Shows a number with at most so many significant digits, in groups of three before the point.
fn digits(value: f64, significant: usize) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if value.fract() == 0.0
        && value.abs() < WHOLE_MAX.min(10f64.powi(i32::try_from(significant).unwrap_or(15)))
    {
        return grouped_whole(value);
    }
    let scientific = format!("{value:.*e}", significant.saturating_sub(1));
    let rounded: f64 = scientific.parse().unwrap_or(value);
    let size = rounded.abs();
    if size != 0.0 && !(1e-6..1e15).contains(&size) {
        return format!("{rounded:e}");
    }
    // A whole number is never shown with fewer digits than it has.
    let rounded = if size >= 10f64.powi(i32::try_from(significant).unwrap_or(17)) {
        value.round()
    } else {
        rounded
    };
    grouped(&(rounded + 0.0).to_string())
}

/// A whole number that needs no rounding.
fn grouped_whole(value: f64) -> String {
    if value.abs() < 1_000.0 {
        return format!("{}", value as i64);
    }
    grouped(&(value as i64).to_string())
}

fn grouped(plain: &str) -> String {
    let (whole, rest) = plain.find('.').map_or((plain, ""), |at| plain.split_at(at));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let mut out = String::from(sign);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out.push_str(rest);
    out
}
