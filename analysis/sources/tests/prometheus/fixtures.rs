//! Every recorded answer, and what it means.
//!
//! The table names each of them: a fixture without a row, or a row without a fixture, fails.

use std::{collections::BTreeSet, fs, path::PathBuf};

use haldane_model::Answer;
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

use Class::{Number, Refused, Retry, Silence};

/// What an answer means.
#[derive(Clone, Copy, Debug)]
enum Class {
    Number(f64),
    Silence(&'static str),
    Refused(&'static str),
    Retry(&'static str),
}

const INF: f64 = f64::INFINITY;
const SEVERAL: Class = Refused("series where one value was asked");
const RANGE: Class = Refused("a range of samples");
const BAD: Class = Refused("bad_data: ");
const NO_QUERY: Class = Refused("this is no answer to a query");
const EMPTY: Class = Silence("no such series");
const NAN: Class = Silence("NaN");

const TABLE: &[(&str, Class)] = &[
    ("instant_scalar", Number(0.3333333333333333)),
    ("instant_scalar_number", Number(1.0)),
    ("instant_scalar_nan", NAN),
    ("instant_scalar_empty_is_nan", NAN),
    ("instant_string", Silence("text")),
    ("instant_vector", SEVERAL),
    ("instant_vector_single", Number(1.0)),
    ("instant_vector_empty", EMPTY),
    ("instant_vector_nan", NAN),
    ("instant_vector_pinf", Number(INF)),
    ("instant_vector_ninf", Number(-INF)),
    ("instant_vector_special_values", SEVERAL),
    ("instant_div_0_0_nan", NAN),
    ("instant_div_x_0_inf", Number(INF)),
    ("instant_div_missing_empty", EMPTY),
    ("instant_or_vector0", Number(0.0)),
    ("instant_absent", Number(1.0)),
    ("instant_hq_no_data_nan", NAN),
    ("instant_hq_missing_empty", EMPTY),
    ("instant_hq_real", SEVERAL),
    ("instant_hq_plusinf_bucket", NAN),
    ("instant_matrix", RANGE),
    ("instant_matrix_empty", RANGE),
    ("instant_subquery", SEVERAL),
    ("instant_bool_compare", SEVERAL),
    ("instant_filter_false_empty", EMPTY),
    ("instant_native_histogram", Refused("native histograms")),
    ("instant_native_hq", SEVERAL),
    ("instant_native_matrix", RANGE),
    ("instant_time_past_empty", EMPTY),
    ("instant_time_rfc3339", Number(1.0)),
    ("instant_time_future", EMPTY),
    ("instant_stats_all", Number(12_950.0)),
    ("instant_topk", SEVERAL),
    ("instant_sort", SEVERAL),
    ("instant_post", Number(12_950.0)),
    ("instant_gzip", SEVERAL),
    ("warnings_remote_read", Refused("may be partial: remote_read: error sending req")),
    ("warnings_empty_result", Refused("may be partial: remote_read: error sending req")),
    ("range_matrix", RANGE),
    ("range_scalar_as_matrix", RANGE),
    ("range_empty", RANGE),
    ("range_nan", RANGE),
    ("range_gap_before_start", RANGE),
    ("range_native_histogram", RANGE),
    ("err_parse", BAD),
    ("err_parse_unknown_fn", BAD),
    ("err_type", BAD),
    ("err_dup_label_join", Refused("execution: found duplicate series for the match gro")),
    ("err_many_to_one", Refused("execution: found duplicate series for the match gro")),
    ("err_missing_query", BAD),
    ("err_bad_time", BAD),
    ("err_bad_timeout", BAD),
    ("err_timeout_1ms", Retry("timeout: query timed out in expression evaluation")),
    ("err_timeout_1ns", Retry("timeout: query timed out in query execution")),
    ("err_string_range", Refused("execution: invalid regular expression in label_repl")),
    ("err_regex_matcher", BAD),
    ("err_empty_matcher", BAD),
    ("err_max_samples", Refused("execution: query processing would load too many sam")),
    ("err_max_samples_range", Number(100.0)),
    ("err_max_samples_query_range", RANGE),
    ("err_range_11000_points", BAD),
    ("err_range_end_before_start", BAD),
    ("err_range_zero_step", BAD),
    ("err_range_no_step", BAD),
    ("err_range_matrix_type", BAD),
    ("err_404", Refused("HTTP 404: 404 page not found")),
    ("err_404_ui", Refused("HTTP 404: 404 page not found")),
    ("err_405_delete", Refused("HTTP 405: Method Not Allowed")),
    ("err_options", Refused("HTTP 204 with an empty body")),
    ("err_lifecycle_disabled_like_admin", Refused("unavailable: admin APIs disabled")),
    ("err_post_json_body", BAD),
    ("err_prefix_missing", Refused("HTTP 404: 404 page not found")),
    ("ok_prefix", Number(1.0)),
    ("redirect_root", Refused("HTTP 404")),
    ("redirect_prefix_root", Refused("HTTP 404")),
    ("ok_post_long_query", Number(20_000.0)),
    ("tls_auth_ok", Number(1.0)),
    ("tls_auth_ok_2nd_cached", Number(1.0)),
    ("tls_auth_missing_401", Refused("HTTP 401: Unauthorized")),
    ("tls_auth_wrong_401", Refused("HTTP 401: Unauthorized")),
    ("tls_auth_ready_401", Refused("HTTP 401: Unauthorized")),
    ("http_to_https_400", Refused("HTTP 400: Client sent an HTTP request to an HTTPS serve")),
    ("status_buildinfo", NO_QUERY),
    ("status_runtimeinfo", NO_QUERY),
    ("status_flags", NO_QUERY),
    ("status_tsdb", NO_QUERY),
    ("ready", Refused("HTTP 200: Prometheus Server is Ready.")),
    ("healthy", Refused("HTTP 200: Prometheus Server is Healthy.")),
    ("targets", NO_QUERY),
    ("rules_none", NO_QUERY),
    ("alerts_none", NO_QUERY),
    ("metadata", NO_QUERY),
    ("labels", NO_QUERY),
    ("format_query", NO_QUERY),
    ("rules", NO_QUERY),
    ("alerts", NO_QUERY),
    ("alertmanagers", NO_QUERY),
    ("series", NO_QUERY),
    ("label_values", NO_QUERY),
    ("startup_503", Retry("HTTP 503: Service Unavailable")),
    ("v353_rate_of_gauge", Number(0.0)),
    ("v353_warning_quantile", Refused("may be partial: PromQL warning: quantile value")),
    ("v353_warning_bad_le", Refused("may be partial: PromQL warning: bucket label \"")),
    ("v353_two_annotations", Refused("may be partial: PromQL warning: quantile value")),
    ("v353_vector", SEVERAL),
    ("v353_parse_error", BAD),
    ("v353_timeout", Retry("execution: expanding series: context deadline excee")),
    ("v353_limit", Refused("may be partial: results truncated due to limit")),
    ("v253_rate_of_gauge", Number(0.0)),
    ("v253_warning_quantile", Refused("may be partial: PromQL warning: quantile value")),
    ("v253_warning_bad_le", Refused("may be partial: PromQL warning: bucket label \"")),
    ("v253_two_annotations", Refused("may be partial: PromQL warning: quantile value")),
    ("v253_vector", SEVERAL),
    ("v253_parse_error", BAD),
    ("v253_timeout", Retry("execution: expanding series: context deadline excee")),
    ("vm_vector", SEVERAL),
    ("vm_nan_dropped_empty", EMPTY),
    ("vm_zero_div_empty", EMPTY),
    ("vm_inf", Number(INF)),
    ("vm_div_x_0", Number(INF)),
    ("vm_err_parse", Refused("422: error when executing query=\"sum(\" for (t")),
    ("vm_string", EMPTY),
    ("vm_scalar", Number(1.0)),
];

/// Recorded without a body: what they show is tested against servers that do it.
const WITHOUT_BODY: &[&str] = &[
    "err_url_too_long",
    "tls_untrusted_ca",
    "conn_refused",
    "huge_50k_series",
    "huge_50k_series_gzip",
    "huge_range",
];

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/prometheus"))
}

fn index() -> Vec<Value> {
    serde_json::from_slice(&fs::read(folder().join("index.json")).unwrap()).unwrap()
}

#[test]
fn every_fixture_has_a_row_and_every_row_a_fixture() {
    let index = index();
    let (with, without): (Vec<&Value>, Vec<&Value>) =
        index.iter().partition(|entry| entry["body_file"].is_string());
    let names = |entries: &[&Value]| -> BTreeSet<String> {
        entries.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
    };
    let rows: BTreeSet<String> = TABLE.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(rows.len(), TABLE.len(), "a row stands twice");
    assert_eq!(names(&with), rows);
    assert_eq!(names(&without), WITHOUT_BODY.iter().map(|name| (*name).to_owned()).collect());
    let listed: BTreeSet<String> =
        with.iter().map(|entry| entry["body_file"].as_str().unwrap().to_owned()).collect();
    let mut files: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.remove("index.json");
    assert_eq!(files, listed);
}

#[tokio::test]
async fn every_recorded_answer_means_what_the_table_says() {
    for entry in index() {
        let name = entry["name"].as_str().unwrap();
        let Some((_, class)) = TABLE.iter().find(|(row, _)| *row == name) else { continue };
        let server = MockServer::start().await;
        Mock::given(path("/api/v1/query")).respond_with(recorded(&entry)).mount(&server).await;
        let answer = super::ask(&json!({"url": server.uri()})).await.answer;
        assert!(is(&answer, *class), "{name}: {class:?} was expected, this came: {answer:?}");
    }
}

fn recorded(entry: &Value) -> ResponseTemplate {
    let file = entry["body_file"].as_str().unwrap();
    let status = u16::try_from(entry["status"].as_u64().unwrap()).unwrap();
    let mut answer = ResponseTemplate::new(status);
    let kind = entry["response_headers"]["content-type"].as_str().unwrap_or("text/plain");
    answer = answer.set_body_raw(fs::read(folder().join(file)).unwrap(), kind);
    for (name, value) in entry["response_headers"].as_object().unwrap() {
        if !matches!(name.as_str(), "content-type" | "content-length" | "transfer-encoding") {
            answer = answer.insert_header(name.as_str(), value.as_str().unwrap());
        }
    }
    answer
}

fn is(answer: &Answer, class: Class) -> bool {
    match (answer, class) {
        (Answer::Value(value), Number(wanted)) => *value == wanted,
        (Answer::Nothing(why), Silence(words)) => why.contains(words),
        (Answer::Error { message, retryable: false }, Refused(words))
        | (Answer::Error { message, retryable: true }, Retry(words)) => message.contains(words),
        _ => false,
    }
}
