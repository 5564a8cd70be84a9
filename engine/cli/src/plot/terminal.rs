//! The picture in a terminal: plain text, or with colours; never drawn over.

use ratatui_core::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Style},
    symbols::Marker,
    text::Span,
    widgets::Widget as _,
};
use ratatui_widgets::{
    block::Block,
    borders::Borders,
    chart::{Axis, Chart, Dataset, GraphType},
};

use super::{Plot, odds};

/// How high the values and the evidence are drawn, in lines.
const VALUES: u16 = 16;
const EVIDENCE: u16 = 9;

const TEST: Color = Color::Red;
const SERVING: Color = Color::Green;
const LIMIT: Color = Color::Yellow;
const STEP: Color = Color::DarkGray;

/// Draws a picture, so many columns wide.
pub(crate) fn terminal(plot: &Plot, width: usize, colours: bool) -> String {
    let width = u16::try_from(width.clamp(40, 200)).unwrap_or(200);
    let mut out = drawn(values(plot), width, VALUES, colours);
    if !plot.evidence.is_empty() {
        out.push_str(&drawn(evidence(plot), width, EVIDENCE, colours));
    }
    out.push_str(&legend(plot, colours));
    out
}

/// Lines of one colour each.
type Lines = Vec<(Color, Vec<(f64, f64)>)>;

/// Lines to draw, with their bounds.
struct Panel {
    title: String,
    lines: Lines,
    x: (f64, Vec<String>),
    y: (f64, f64, Vec<String>),
}

fn values(plot: &Plot) -> Panel {
    let (low, high) = plot.range();
    let mut lines = steps(plot, low, high);
    if let Some(limit) = plot.limit {
        lines.push((LIMIT, vec![(0.0, limit), (plot.span, limit)]));
    }
    lines.push((SERVING, plot.serving.clone()));
    lines.push((TEST, plot.test.clone()));
    let label = |value: f64| format!("{} {}", short(value), plot.unit).trim_end().to_owned();
    Panel {
        title: plot.title.clone(),
        lines,
        x: (plot.span, times(plot.span)),
        y: (low, high, vec![label(low), label(f64::midpoint(low, high)), label(high)]),
    }
}

fn evidence(plot: &Plot) -> Panel {
    let (low, high) = plot.evidence_range();
    let mut lines = steps(plot, low, high);
    if let Some(needed) = plot.needed {
        lines.push((LIMIT, vec![(0.0, needed), (plot.span, needed)]));
    }
    lines.push((TEST, plot.evidence.clone()));
    Panel {
        title: "evidence that it is worse".to_owned(),
        lines,
        x: (plot.span, times(plot.span)),
        y: (low, high, vec![odds(low), odds(f64::midpoint(low, high)), odds(high)]),
    }
}

/// A line up for each step.
fn steps(plot: &Plot, low: f64, high: f64) -> Lines {
    let marks = plot.steps.iter().map(|(at, _)| *at).chain(plot.rolled_back);
    marks.map(|at| (STEP, vec![(at, low), (at, high)])).collect()
}

fn times(span: f64) -> Vec<String> {
    [0.0, 0.5, 1.0].iter().map(|part| clock(span * part)).collect()
}

/// Says a time since the beginning: `45s`, `12m30s`.
fn clock(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match (whole / 60, whole % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, 0) => format!("{minutes}m"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

fn short(value: f64) -> String {
    if value == 0.0 || value.abs() >= 100.0 {
        format!("{value:.0}")
    } else if value.abs() >= 1.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

fn drawn(panel: Panel, width: u16, height: u16, colours: bool) -> String {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    let datasets = panel.lines.iter().filter(|(_, data)| !data.is_empty());
    let datasets = datasets.map(|(colour, data)| {
        let kind = if data.len() == 1 { GraphType::Scatter } else { GraphType::Line };
        let style = Style::default().fg(*colour);
        Dataset::default().marker(Marker::Braille).graph_type(kind).style(style).data(data)
    });
    let labels = |labels: Vec<String>| labels.into_iter().map(Span::raw).collect::<Vec<_>>();
    let chart = Chart::new(datasets.collect())
        .block(Block::default().title(panel.title).borders(Borders::NONE))
        .legend_position(None)
        .x_axis(Axis::default().bounds([0.0, panel.x.0]).labels(labels(panel.x.1)))
        .y_axis(Axis::default().bounds([panel.y.0, panel.y.1]).labels(labels(panel.y.2)));
    chart.render(area, &mut buffer);
    text(&buffer, colours)
}

/// The cells as lines of text, in colours where those are wanted.
fn text(buffer: &Buffer, colours: bool) -> String {
    let mut out = String::new();
    for y in 0..buffer.area.height {
        let mut line = String::new();
        let mut colour = Color::Reset;
        for x in 0..buffer.area.width {
            let Some(cell) = buffer.cell((x, y)) else { continue };
            if colours && cell.fg != colour {
                colour = cell.fg;
                line.push_str(code(colour));
            }
            line.push_str(cell.symbol());
        }
        if colours && colour != Color::Reset {
            line.push_str(code(Color::Reset));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn code(colour: Color) -> &'static str {
    if colour == TEST {
        "\x1b[31m"
    } else if colour == SERVING {
        "\x1b[32m"
    } else if colour == LIMIT {
        "\x1b[33m"
    } else if colour == STEP {
        "\x1b[90m"
    } else {
        "\x1b[0m"
    }
}

fn legend(plot: &Plot, colours: bool) -> String {
    let paint = |colour: Color, text: &str| match colours {
        true => format!("{}{text}{}", code(colour), code(Color::Reset)),
        false => text.to_owned(),
    };
    let last = |points: &[(f64, f64)]| points.last().map(|(_, value)| short(*value));
    let mut parts = Vec::new();
    if let Some(value) = last(&plot.test) {
        parts.push(paint(TEST, &format!("under test {value} {}", plot.unit)));
    }
    if let Some(value) = last(&plot.serving) {
        parts.push(paint(SERVING, &format!("serving {value} {}", plot.unit)));
    }
    if let Some(limit) = plot.limit {
        parts.push(paint(LIMIT, &format!("limit {} {}", short(limit), plot.unit)));
    }
    if let (Some((_, power)), Some(needed)) = (plot.evidence.last(), plot.needed) {
        parts.push(format!("evidence {} of {}", odds(*power), odds(needed)));
    }
    let mut out = format!("{}\n", parts.join(", "));
    let mut steps: Vec<String> =
        plot.steps.iter().map(|(at, share)| format!("{share} at {}", clock(*at))).collect();
    steps.extend(plot.rolled_back.map(|at| format!("back at {}", clock(at))));
    if !steps.is_empty() {
        out.push_str(&paint(STEP, &format!("upright lines: {}", steps.join(", "))));
        out.push('\n');
    }
    out
}
