//! Pages of metrics, good and bad.

use std::{fmt::Write as _, sync::Arc, time::Instant};

use super::*;
use crate::sampled::Selector;

fn wanted(texts: &[&str]) -> Wanted {
    Wanted(texts.iter().map(|text| Arc::new(Selector::read(text).unwrap())).collect())
}

fn target() -> Labels {
    [("side", "green"), ("instance", "a:1")].map(|(n, v)| (n.to_owned(), v.to_owned())).into()
}

#[track_caller]
fn page(text: &str, selector: &str) -> Page {
    read(text.as_bytes(), false, &wanted(&[selector]), &target()).unwrap()
}

#[track_caller]
fn refused(text: &str, words: &str) {
    let error = read(text.as_bytes(), false, &wanted(&["x"]), &target()).unwrap_err();
    assert!(error.contains(words), "{error}");
}

#[test]
fn what_is_asked_for_is_read_with_the_labels_of_its_target() {
    let text = "# HELP x_total Requests.\n# TYPE x_total counter\n\
        x_total{code=\"200\",path=\"/a,}=\\\"b\\\\c\\nd\"} 1027 1395066363000\n\
        \tx_total { code = \"500\" , } 3.5e1\ny_total 4\n\n\
        x_total{instance=\"mine\",side=\"green\"} +Inf\nprocess_start_time_seconds 1.5e9\n";
    let page = page(text, "x_total");
    assert_eq!(page.process.as_deref(), Some("1500000000"));
    let [first, second, third] = page.series.as_slice() else { panic!("{page:?}") };
    assert_eq!(first.0["path"], "/a,}=\"b\\c\nd");
    assert_eq!(
        (first.1, first.0["side"].as_str(), first.0["__name__"].as_str()),
        (1027.0, "green", "x_total")
    );
    assert_eq!((second.1, second.0["code"].as_str()), (35.0, "500"));
    assert_eq!(
        (third.0["instance"].as_str(), third.0["exported_instance"].as_str()),
        ("a:1", "mine")
    );
    assert!(!third.0.contains_key("exported_side"), "the same is no conflict");
}

#[test]
fn numbers_that_are_none_are_kept_for_the_counters_to_leave_out() {
    let page = page("x{a=\"1\"} NaN\nx{a=\"2\"} -Inf\n", "x");
    assert!(page.series[0].1.is_nan() && page.series[1].1 == f64::NEG_INFINITY);
}

#[test]
fn open_metrics_are_read_to_their_end() {
    let text = "# TYPE x counter\n# UNIT x seconds\n\
        x_total{a=\"b # c\"} 17.0 1520879607.789 # {trace_id=\"K\"} 0.67 1520879607.6\n\
        x_created 1.5\n# EOF\n";
    let read = |text: &str| super::read(text.as_bytes(), true, &wanted(&["x_total"]), &target());
    assert_eq!(read(text).unwrap().series[0].1, 17.0);
    let half = read(text.strip_suffix("# EOF\n").unwrap()).unwrap_err();
    assert!(half.contains("before its end"), "{half}");
    assert!(read(&format!("{text}x_total 1\n")).unwrap_err().contains("after the end"));
}

#[test]
fn what_is_no_page_of_metrics_is_refused_with_its_first_words() {
    refused("<html>\n<body>Sign in</body>\n", "no page of metrics: <html> <body>Sign in");
    refused("<html>", "no page of metrics");
    refused("{\"status\": \"ok\"}", "breaks off");
    refused("{\"status\": \"ok\"}\n", "no page of metrics");
    refused("Not Found\n", "no page of metrics: Not Found");
    let bytes = read(&[0xff, 0xfe, 0x0a], false, &wanted(&["x"]), &target());
    assert!(bytes.unwrap_err().contains("no page of metrics"));
}

#[test]
fn one_odd_line_refuses_the_page() {
    for line in [
        "x{a=\"b\" 1",
        "x{a=b} 1",
        "x{a=\"b\"}",
        "x{a=\"b\"} one",
        "x{a=\"b\"} 1 now",
        "x{a=\"b\"} 1 2 3",
        "x{a=\"b\",a=\"c\"} 1",
        "x{=\"b\"} 1",
        "x{a=\"b\"c=\"d\"} 1",
        "x{a=\"b",
        "x 1 # {} 2",
        "x",
    ] {
        refused(&format!("y 1\n{line}\n"), "line 2 of its page");
    }
    refused("y 1\n1x 2\n", "line 2 of its page is no sample: 1x 2");
    refused("y 1\nx{a=\"b\"} 1\nx{a=\"b\"} 2\n", "a series that is there already");
    refused("y 1\nx{a=\"b\"} 1\nx{a=\"b\"", "breaks off");
    refused(&format!("y 1\nx{{a=\"{}\"}} 1\n", "b".repeat(LINE_BYTES_MAX)), "too long");
    let labels: String = (0..=LABELS_MAX).map(|n| format!("l{n}=\"\",")).collect();
    refused(&format!("y 1\nx{{{labels}}} 1\n"), "cannot be read");
}

#[test]
fn a_page_cut_anywhere_is_refused_or_shorter_by_whole_lines() {
    let text = "x{a=\"1\"} 10\nx{a=\"2\"} 20\nx{a=\"3\"} 30\n";
    for end in 0..text.len() {
        match read(&text.as_bytes()[..end], false, &wanted(&["x"]), &target()) {
            Ok(page) => assert!(text[..end].is_empty() || text[..end].ends_with('\n'), "{page:?}"),
            Err(error) => assert!(error.contains("breaks off"), "{error}"),
        }
    }
}

#[test]
fn noise_is_read_or_refused_and_never_ends_the_process() {
    let pieces = ["x", "{", "}", "\"", "a=", ",", " ", "1", "\\", "\n", "#", "é", "=", "\t", "EOF"];
    let mut state: u64 = 20_261_121;
    let mut next = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % limit
    };
    for _ in 0..20_000 {
        let text: String = (0..=next(16)).map(|_| pieces[next(pieces.len())]).collect();
        for is_open in [false, true] {
            let _ = read(text.as_bytes(), is_open, &wanted(&["x"]), &target());
        }
    }
}

#[test]
fn a_million_other_series_cost_little() {
    let cost = |others: u32| {
        let mut text = String::new();
        for n in 0..others {
            writeln!(text, "y_bucket{{le=\"{n}\",path=\"/a/b/c\"}} {n}").unwrap();
        }
        text.push_str("x{a=\"1\"} 1\n");
        let begin = Instant::now();
        assert_eq!(page(&text, "x").series.len(), 1);
        begin.elapsed()
    };
    // Ten times as many take ten times as long; the rest is what else the machine does.
    let few = (0..3).map(|_| cost(100_000)).max().unwrap();
    assert!(cost(1_000_000) < few * 50, "100 000 took {few:?}");
}
