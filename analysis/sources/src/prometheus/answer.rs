//! What an answer of the query API means. Pure: status and bytes in, meaning out.
//!
//! Several series are never taken for one, a partial answer never for a whole one, and text that
//! is not from a Prometheus never for silence.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::{
    counters::{self, Bucket, Native, Samples},
    reply::{Found, Refusal, excerpt, foreign, may_pass, refused},
};

const SERIES_NAMED: usize = 3;

/// One series of an instant vector.
#[derive(Debug, Deserialize)]
pub(crate) struct Series {
    #[serde(default)]
    pub(crate) metric: BTreeMap<String, String>,
    value: Option<(IgnoredAny, String)>,
    histogram: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    status: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    error_type: Option<String>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    result_type: String,
    #[serde(borrow)]
    result: &'a RawValue,
}

/// One series of a matrix.
#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
    #[serde(default)]
    histograms: Vec<(f64, Histogram)>,
}

/// A native histogram; each bucket has its rule of bounds, its two bounds and its count.
#[derive(Deserialize)]
struct Histogram {
    count: String,
    #[serde(default)]
    buckets: Vec<(IgnoredAny, String, String, String)>,
}

/// Reads what one query found.
pub(crate) fn found(status: u16, body: &[u8], series_max: usize) -> Result<Found, Refusal> {
    let data = result(status, body)?;
    match data.result_type.as_str() {
        "scalar" => {
            let (_, text): (IgnoredAny, String) = decode(data.result)?;
            number(&text)
        }
        "vector" => one(&vector(data.result, series_max)?),
        "string" => Ok(Found::Nothing("the query returns text, not a number".into())),
        "matrix" => Err(refused("the query returns a range of samples, not a number")),
        other => Err(refused(format!("the answer is a {other:?}, which is not known"))),
    }
}

/// Reads an instant vector, for the labels of its series.
pub(crate) fn series(status: u16, body: &[u8], series_max: usize) -> Result<Vec<Series>, Refusal> {
    let data = result(status, body)?;
    match data.result_type.as_str() {
        "vector" => vector(data.result, series_max),
        other => Err(refused(format!("the query returns a {other}, not series"))),
    }
}

/// Reads the raw samples of a range selector. What has too many series is too large.
pub(crate) fn ranges(
    status: u16,
    body: &[u8],
    series_max: usize,
) -> Result<Vec<counters::Series>, Refusal> {
    let data = result(status, body)?;
    if data.result_type != "matrix" {
        let kind = data.result_type;
        return Err(refused(format!("the answer is a {kind}, not a range of samples")));
    }
    let ranges: Vec<Range> = decode(data.result)?;
    if ranges.len() > series_max {
        let count = ranges.len();
        let message = format!(
            "the answer has {count} series of raw samples, more than {series_max} (a hundred times \
             maxSeries): select fewer"
        );
        return Err(refused(message));
    }
    let mut series = Vec::with_capacity(ranges.len());
    for range in ranges {
        range.read(&mut series)?;
    }
    Ok(series)
}

/// Reads the data of any answer of the API, whatever its shape.
pub(crate) fn data(status: u16, body: &[u8]) -> Result<&RawValue, Refusal> {
    let envelope: Envelope<'_> = object(body).ok_or_else(|| foreign(status, body))?;
    if envelope.status != "success" {
        return Err(failure(status, &envelope));
    }
    let warnings: Vec<&str> = envelope.warnings.iter().flatten().map(String::as_str).collect();
    // Prometheus 2.53 hides infos among the warnings.
    if let Some(warning) = warnings.iter().find(|text| !text.starts_with("PromQL info:")) {
        return Err(refused(format!("the answer may be partial: {}", excerpt(warning.as_bytes()))));
    }
    if !(200..300).contains(&status) {
        return Err(foreign(status, body));
    }
    envelope.data.ok_or_else(|| foreign(status, body))
}

fn result(status: u16, body: &[u8]) -> Result<Data<'_>, Refusal> {
    object(data(status, body)?.get().as_bytes())
        .ok_or_else(|| refused(format!("this is no answer to a query: {}", excerpt(body))))
}

/// Reads a JSON object; an array is none, though serde would take it for one.
fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    let begins = json.iter().find(|byte| !byte.is_ascii_whitespace());
    if begins == Some(&b'{') { serde_json::from_slice(json).ok() } else { None }
}

fn decode<'a, T: Deserialize<'a>>(result: &'a RawValue) -> Result<T, Refusal> {
    serde_json::from_str(result.get())
        .map_err(|error| refused(format!("the result cannot be read: {error}")))
}

fn vector(result: &RawValue, series_max: usize) -> Result<Vec<Series>, Refusal> {
    let series: Vec<Series> = decode(result)?;
    if series.len() > series_max {
        let count = series.len();
        let message = format!("the answer has {count} series, more than maxSeries: {series_max}");
        return Err(refused(message));
    }
    Ok(series)
}

fn one(series: &[Series]) -> Result<Found, Refusal> {
    if series.iter().any(|one| one.value.is_none() && one.histogram.is_some()) {
        return Err(refused(
            "the query returns native histograms, not a number: put it into histogram_quantile() \
             or histogram_count()",
        ));
    }
    let only = match series {
        [] => return Ok(Found::Nothing("no such series".into())),
        [only] => only,
        several => return Err(refused(several_series(several))),
    };
    match &only.value {
        Some((_, text)) => number(text),
        None => Err(refused("the series has no value")),
    }
}

fn number(text: &str) -> Result<Found, Refusal> {
    match text.parse::<f64>() {
        Ok(value) if value.is_nan() => Ok(Found::Nothing("the value is NaN".into())),
        Ok(value) => Ok(Found::Number(value)),
        Err(_) => Err(refused(format!("the value {text:?} is no number"))),
    }
}

fn several_series(series: &[Series]) -> String {
    let named: Vec<String> = series
        .iter()
        .take(SERIES_NAMED)
        .map(|series| format!("{{{}}}", crate::promql::matchers(&series.metric)))
        .collect();
    let more = if series.len() > SERIES_NAMED { ", …" } else { "" };
    format!(
        "{} series where one value was asked: {}{more}: put the query into sum() or the like",
        series.len(),
        excerpt(named.join(", ").as_bytes())
    )
}

fn failure(status: u16, envelope: &Envelope<'_>) -> Refusal {
    let kind = envelope.error_type.as_deref().unwrap_or("error");
    let text = envelope.error.as_deref().unwrap_or("no reason given");
    let late =
        kind == "timeout" || ["deadline exceeded", "timed out"].iter().any(|w| text.contains(w));
    Refusal {
        message: format!("{kind}: {}", excerpt(text.as_bytes())),
        retryable: late || may_pass(status),
        too_large: false,
    }
}

/// A number of the API: text, `NaN` and infinities included.
fn float(text: &str) -> Result<f64, Refusal> {
    text.parse().map_err(|_| refused(format!("the value {text:?} is no number")))
}

/// Seconds of the API as milliseconds; it tells no finer.
fn millis(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

// === impl Range ===

impl Range {
    /// A series may change from numbers to native histograms: it is two then.
    fn read(self, series: &mut Vec<counters::Series>) -> Result<(), Refusal> {
        if !self.values.is_empty() {
            let number = |(at, text): &(f64, String)| Ok((millis(*at), float(text)?));
            let samples = self.values.iter().map(number).collect::<Result<_, _>>()?;
            let labels = self.metric.clone();
            series.push(counters::Series { labels, samples: Samples::Numbers(samples) });
        }
        if !self.histograms.is_empty() {
            let native = |(at, shown): &(f64, Histogram)| Ok((millis(*at), shown.read()?));
            let samples = self.histograms.iter().map(native).collect::<Result<_, _>>()?;
            let labels = self.metric;
            series.push(counters::Series { labels, samples: Samples::Histograms(samples) });
        }
        Ok(())
    }
}

// === impl Histogram ===

impl Histogram {
    fn read(&self) -> Result<Native, Refusal> {
        let bucket = |(_, lower, upper, count): &(IgnoredAny, String, String, String)| {
            Ok(Bucket { lower: float(lower)?, upper: float(upper)?, count: float(count)? })
        };
        let buckets = self.buckets.iter().map(bucket).collect::<Result<Vec<_>, Refusal>>()?;
        Native::read(float(&self.count)?, &buckets).map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infos_are_ignored_and_warnings_are_not() {
        let answer = |more: &str| {
            let body = format!(
                r#"{{"status":"success","data":{{"resultType":"scalar","result":[1,"2"]}}{more}}}"#
            );
            found(200, body.as_bytes(), 100)
        };
        assert_eq!(answer(""), Ok(Found::Number(2.0)));
        assert_eq!(answer(r#","infos":["PromQL info: x"]"#), Ok(Found::Number(2.0)));
        assert_eq!(answer(r#","warnings":["PromQL info: x"]"#), Ok(Found::Number(2.0)));
        assert_eq!(answer(r#","warnings":[]"#), Ok(Found::Number(2.0)));
        assert_eq!(answer(r#","warnings":null"#), Ok(Found::Number(2.0)));
        let error = answer(r#","warnings":["PromQL info: x","store down"]"#).unwrap_err();
        assert_eq!(error, refused("the answer may be partial: store down"));
    }

    #[test]
    fn up_to_three_of_several_series_are_named() {
        let series: Vec<String> =
            (0..5).map(|n| format!(r#"{{"metric":{{"pod":"p{n}"}},"value":[1,"2"]}}"#)).collect();
        let body = format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#,
            series.join(",")
        );
        let error = found(200, body.as_bytes(), 100).unwrap_err();
        let words =
            "5 series where one value was asked: {pod=\"p0\"}, {pod=\"p1\"}, {pod=\"p2\"}, …";
        assert!(error.message.starts_with(words), "{error}");
        assert!(found(200, body.as_bytes(), 4).unwrap_err().message.contains("maxSeries: 4"));
    }

    #[test]
    fn a_login_page_is_an_error_with_its_first_words() {
        let page = format!("<html>\n<h1>Sign in</h1>{}", "x".repeat(1000));
        let error = found(200, page.as_bytes(), 100).unwrap_err();
        assert!(error.message.starts_with("HTTP 200: <html> <h1>Sign in</h1>xxx"), "{error}");
        assert!(error.message.len() < 230 && !error.retryable);
    }
}
