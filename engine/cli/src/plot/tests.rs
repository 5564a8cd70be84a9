//! Pictures of numbers that are known.

use super::*;

fn breach() -> Plot {
    Plot {
        title: "errors, attempt 2 of v3".to_owned(),
        unit: "%".to_owned(),
        span: 100.0,
        test: (0..=20).map(|i| (f64::from(i) * 5.0, f64::from(i) * 0.1)).collect(),
        serving: (0..=20).map(|i| (f64::from(i) * 5.0, 0.2)).collect(),
        limit: Some(1.0),
        evidence: (0..=20).map(|i| (f64::from(i) * 5.0, f64::from(i) * 0.11 - 0.1)).collect(),
        needed: Some(2.0),
        steps: vec![
            (5.0, Weight::from_percent(10).unwrap()),
            (60.0, Weight::from_percent(50).unwrap()),
        ],
        rolled_back: Some(100.0),
    }
}

#[test]
fn the_picture_in_a_terminal_shows_both_sides_the_limit_the_evidence_and_the_steps() {
    insta::assert_snapshot!(terminal(&breach(), 76, false));
}

#[test]
fn without_colours_there_are_no_escapes_and_with_them_each_line_ends_plain() {
    assert!(!terminal(&breach(), 76, false).contains('\x1b'));
    for line in terminal(&breach(), 76, true).lines().filter(|line| line.contains('\x1b')) {
        let last = line.rfind('\x1b').map(|at| &line[at..]);
        assert!(last.is_some_and(|last| last.starts_with("\x1b[0m")), "{line:?}");
    }
}

#[test]
fn one_point_and_no_limit_are_drawn_too() {
    let plot = Plot { span: 1.0, test: vec![(0.0, 3.0)], unit: "ms".to_owned(), ..Plot::default() };
    let shown = terminal(&plot, 60, false);
    assert!(shown.contains("under test 3.0 ms"), "{shown}");
    assert!(svg(&plot).unwrap().starts_with("<svg"));
}

#[test]
fn values_below_zero_are_drawn_below_it() {
    let test = vec![(0.0, -40.0), (1.0, 10.0)];
    let plot = Plot { span: 1.0, test, ..Plot::default() };
    assert_eq!(plot.range(), (-46.0, 11.5));
    let shown = terminal(&plot, 60, false);
    assert!(shown.contains("-46.0") && shown.contains("11.5"), "{shown}");
    assert!(svg(&plot).unwrap().contains("-40"));
}

#[test]
fn the_svg_is_one_with_both_sides_the_limit_and_the_shares() {
    let picture = svg(&breach()).unwrap();
    for part in
        ["<svg", "under test", "serving", "limit", "10 %", "50 %", "back", "evidence", "polyline"]
    {
        assert!(picture.contains(part), "{part} is not in the picture");
    }
    assert_eq!(svg(&breach()).unwrap(), picture, "the same numbers make the same picture");
}

#[test]
fn odds_are_told_to_one_whichever_way_they_lie() {
    assert_eq!([odds(2.0), odds(0.0), odds(-1.0)], ["100:1", "1.0:1", "1:10"]);
}
