//! The live view: one rollout on a terminal, drawn anew in place.
//!
//! Plain text in, ANSI out; it never reads the terminal and never takes it over.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::{self, Write as _},
};

use haldane_model::Verdict;
use haldane_runtime::status::{CheckStatus, Status, WatchStatus};

/// How many of the last decisions are shown.
const STORY_MAX: usize = 6;

/// How wide a terminal is that does not tell.
const WIDTH: usize = 110;

/// How high a terminal is that does not tell.
const HEIGHT: usize = 40;

/// How wide the bar of a bake is.
const BAR: usize = 24;

/// A picture on a terminal that is drawn over itself.
#[derive(Debug)]
pub(crate) struct Live {
    lines: usize,
    colours: bool,
    story: VecDeque<String>,
}

// === impl Live ===

impl Live {
    /// Begins below what the terminal shows.
    #[must_use]
    pub(crate) fn new(colours: bool) -> Self {
        Self { lines: 0, colours, story: VecDeque::new() }
    }

    /// Remembers a decision for the picture.
    pub(crate) fn tell(&mut self, line: String) {
        self.story.push_back(line);
        while self.story.len() > STORY_MAX {
            self.story.pop_front();
        }
    }

    /// Draws the picture over the last one.
    pub(crate) fn draw(&mut self, status: &Status) {
        let picture = picture(status, &self.story, self.colours);
        self.draw_text(&picture);
    }

    /// Draws lines over the last ones.
    pub(crate) fn draw_text(&mut self, picture: &str) {
        let (width, height) = (terminal_width(), terminal_height());
        let mut out = String::new();
        if self.lines > 0 {
            let _ = write!(out, "\x1b[{}A", self.lines);
        }
        out.push_str("\x1b[J");
        self.lines = 0;
        // What has left the screen cannot be drawn over.
        let all = picture.lines().count();
        let shown = if all > height { height.saturating_sub(1) } else { all };
        for line in picture.lines().take(shown) {
            out.push_str(&cut(line, width));
            out.push('\n');
            self.lines += 1;
        }
        if all > shown {
            let _ = writeln!(out, "... {} more lines", all - shown);
            self.lines += 1;
        }
        let mut terminal = io::stdout().lock();
        let _ = terminal.write_all(out.as_bytes());
        let _ = terminal.flush();
    }
}

/// Draws a status as lines; with or without colours.
#[must_use]
pub(crate) fn picture(status: &Status, story: &VecDeque<String>, colours: bool) -> String {
    let paint = |code: &str, text: &str| match colours {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    };
    let mut out = String::new();
    let name = |name: &Option<haldane_model::Revision>| {
        name.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
    };
    let phase = paint(phase_colour(&status.phase), &status.phase);
    let watching = if status.watching { ", watched" } else { "" };
    let _ = writeln!(
        out,
        "{}  {} -> {}  {phase}{watching}  attempt {}",
        paint("1", &status.rollout),
        name(&status.previous_revision),
        name(&status.revision),
        status.attempt,
    );
    if !status.steps.is_empty() {
        let _ = writeln!(out, "  {}", steps(status, &paint));
    }
    if let Some(step) = &status.step {
        let left = (step.bake - step.baked).max(0.0);
        let rest: f64 = status.steps.iter().skip(step.index + 1).map(|step| step.bake).sum();
        let _ = writeln!(
            out,
            "  {} {} of {}  at least {} left",
            bar(step.baked, step.bake),
            seconds(step.baked),
            seconds(step.bake),
            seconds(left + rest),
        );
    } else if let Some(WatchStatus { watched, watch }) = status.watch {
        let passed = format!("{} of {}", seconds(watched), seconds(watch));
        let _ = writeln!(out, "  {} watch {passed}", bar(watched, watch));
    }
    let side = status.test.as_ref().map_or("?", |side| side.as_str());
    for entry in &status.traffic {
        let observed = entry.observed.map_or_else(|| "unread".to_owned(), |w| w.to_string());
        let message = entry.message.as_ref().map_or_else(String::new, |m| format!("  {m}"));
        let _ = writeln!(
            out,
            "  {:<16} {side}  wanted {:>7}  observed {observed:>7}{}",
            entry.name,
            entry.wanted.to_string(),
            paint("33", &message),
        );
    }
    for check in &status.checks {
        let _ = writeln!(out, "  {}", check_line(check, &paint));
        // A comparison that has not decided says what it waits for.
        if let (Some(_), Some(Verdict::Inconclusive { .. }), Some(message)) =
            (check.compared, check.verdict, &check.message)
        {
            let _ = writeln!(out, "    {}", paint("2", message));
        }
    }
    held(status, &paint, &mut out);
    for line in story {
        let _ = writeln!(out, "  {}", paint("2", line));
    }
    out
}

fn held(status: &Status, paint: &impl Fn(&str, &str) -> String, out: &mut String) {
    for hold in &status.holds {
        let line = format!("held by {} (by {}) since {}", hold.kind, hold.actor, hold.since);
        let _ = writeln!(out, "  {}", paint("33", &line));
    }
    if !status.held_by.is_empty() {
        let line = format!("held: {}", status.held_by.join(", "));
        let _ = writeln!(out, "  {}", paint("33", &line));
    }
    if let Some(cause) = status.lowered {
        let line = format!("the traffic goes back: {}", cause.code());
        let _ = writeln!(out, "  {}", paint("31", &line));
    }
    if let Some(why) = &status.store_trouble {
        let line = format!("the record cannot be written, nothing is raised: {why}");
        let _ = writeln!(out, "  {}", paint("31", &line));
    }
    if let Some(why) = &status.spec_error {
        let line = format!("the file cannot be used, the pinned plan goes on: {why}");
        let _ = writeln!(out, "  {}", paint("33", &line));
    }
}

fn steps(status: &Status, paint: &impl Fn(&str, &str) -> String) -> String {
    let current = status.step.as_ref().map(|step| step.index);
    let done = status.watching || status.phase == "Healthy" && status.attempt > 0;
    let names = status.steps.iter().enumerate().map(|(index, step)| {
        let text = step.to_string();
        match current {
            Some(current) if index == current => paint("1;36", &format!("[{text}]")),
            Some(current) if index < current => paint("32", &text),
            None if done => paint("32", &text),
            Some(_) | None => paint("2", &text),
        }
    });
    names.collect::<Vec<_>>().join(" > ")
}

/// One check in a line.
pub(crate) fn check_line(check: &CheckStatus, paint: &impl Fn(&str, &str) -> String) -> String {
    let (word, colour) = match check.verdict {
        None => ("...", "2"),
        Some(verdict @ Verdict::Pass) => (verdict.word(), "32"),
        Some(verdict @ (Verdict::Fail { .. } | Verdict::CanaryLost)) => (verdict.word(), "31"),
        Some(verdict @ (Verdict::Inconclusive { .. } | Verdict::NoData | Verdict::SourceError)) => {
            (verdict.word(), "33")
        }
    };
    let value = check.value.map_or_else(|| "-".to_owned(), |value| show(value, &check.unit));
    let limit = check.limit.clone().unwrap_or_default();
    let samples = check.samples.map_or_else(String::new, |n| format!("  {n:.0} samples"));
    let beside = check.compared.map_or_else(String::new, |compared| {
        let serving =
            compared.serving.map_or_else(|| "-".to_owned(), |rate| show(rate, &check.unit));
        let odds = match compared.odds {
            odds if odds < 1.0 => "no evidence".to_owned(),
            odds => haldane_judge::odds(odds),
        };
        format!("  vs {serving}, {odds}")
    });
    let dry = if check.dry_run { "  (dry run)" } else { "" };
    let verdict = paint(colour, word);
    format!("{:<16} {value:>10}  {limit:<14} {verdict}{samples}{beside}{dry}", check.name)
}

/// Shows a value in its unit: fractions as percent, seconds in a fitting unit.
#[must_use]
pub(crate) fn show(value: f64, unit: &str) -> String {
    match unit {
        "%" => format!("{:.2} %", value * 100.0),
        "s" if value.abs() < 1.0 => format!("{:.0} ms", value * 1_000.0),
        "s" => format!("{value:.2} s"),
        _ => format!("{value}"),
    }
}

fn bar(done: f64, all: f64) -> String {
    let share = if all > 0.0 { (done / all).clamp(0.0, 1.0) } else { 1.0 };
    let full = (share * BAR as f64).round() as usize;
    format!("[{}{}]", "#".repeat(full), ".".repeat(BAR - full))
}

fn seconds(value: f64) -> String {
    let whole = value.round().max(0.0) as u64;
    match (whole / 3_600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}

/// The colour code of a phase.
pub(crate) fn phase_colour(phase: &str) -> &'static str {
    match phase {
        "Healthy" => "32",
        "RollingBack" | "Degraded" => "31",
        "Paused" | "Conflicted" | "Waiting" | "Held" => "33",
        _ => "36",
    }
}

/// Returns how wide the terminal is.
pub(crate) fn terminal_width() -> usize {
    terminal_size::terminal_size().map_or(WIDTH, |(width, _)| usize::from(width.0))
}

/// Returns how many lines may be drawn: all but the cursor's own.
fn terminal_height() -> usize {
    let told = terminal_size::terminal_size();
    told.map_or(HEIGHT, |(_, height)| usize::from(height.0).saturating_sub(1).max(2))
}

/// Cuts a line to the terminal's width, leaving colour codes whole.
fn cut(line: &str, width: usize) -> String {
    let (mut out, mut shown, mut code) = (String::new(), 0, false);
    for letter in line.chars() {
        if letter == '\x1b' {
            code = true;
        }
        if code || shown < width {
            out.push(letter);
        }
        if code {
            code = letter != 'm';
        } else {
            shown += 1;
        }
    }
    out
}
