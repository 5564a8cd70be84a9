//! The picture as SVG, for a report or a browser.

use std::error::Error;

use plotters::{
    chart::{ChartBuilder, ChartContext},
    coord::{Shift, cartesian::Cartesian2d, types::RangedCoordf64},
    drawing::{DrawingArea, IntoDrawingArea as _},
    element::{PathElement, Text},
    prelude::SVGBackend,
    series::{DashedLineSeries, LineSeries},
    style::{Color as _, IntoFont as _, RGBColor, WHITE},
};

use super::{Plot, odds};

const SIZE: (u32, u32) = (960, 560);
/// How much of the height the values take where there is evidence to draw below them.
const VALUES: u32 = 340;

const TEST: RGBColor = RGBColor(197, 48, 48);
const SERVING: RGBColor = RGBColor(47, 133, 90);
const LIMIT: RGBColor = RGBColor(183, 121, 31);
const STEP: RGBColor = RGBColor(160, 174, 192);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Panel<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn = Result<(), Box<dyn Error>>;

/// Draws a picture.
pub(crate) fn svg(plot: &Plot) -> Result<String, String> {
    let mut out = String::new();
    draw(plot, &mut out).map_err(|error| format!("the picture cannot be drawn: {error}"))?;
    Ok(out)
}

fn draw(plot: &Plot, out: &mut String) -> Drawn {
    let root = SVGBackend::with_string(out, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    if plot.evidence.is_empty() {
        values(plot, &root)?;
    } else {
        let (upper, lower) = root.split_vertically(VALUES);
        values(plot, &upper)?;
        evidence(plot, &lower)?;
    }
    root.present()?;
    Ok(())
}

fn values(plot: &Plot, area: &Area<'_>) -> Drawn {
    let range = plot.range();
    let unit = if plot.unit.is_empty() { "value" } else { &plot.unit };
    let mut panel = panel(plot, area, &plot.title, range)?;
    let plain =
        |value: &f64| format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned();
    mesh(&mut panel, unit, &plain)?;
    steps(plot, &mut panel, range)?;
    if let Some(limit) = plot.limit {
        dashed(&mut panel, plot.span, limit)?;
    }
    line(&mut panel, &plot.serving, SERVING)?;
    line(&mut panel, &plot.test, TEST)?;
    let mut at = 0;
    for (name, colour, there) in [
        ("under test", TEST, !plot.test.is_empty()),
        ("serving", SERVING, !plot.serving.is_empty()),
        ("limit", LIMIT, plot.limit.is_some()),
    ] {
        if there {
            let font = ("sans-serif", 14).into_font().color(&colour);
            area.draw(&Text::new(name, (80 + at, 16), font))?;
            at += 90;
        }
    }
    Ok(())
}

fn evidence(plot: &Plot, area: &Area<'_>) -> Drawn {
    let (low, high) = plot.evidence_range();
    let mut panel = panel(plot, area, "evidence that it is worse", (low, high))?;
    mesh(&mut panel, "odds", &|power: &f64| odds(*power))?;
    steps(plot, &mut panel, (low, high))?;
    if let Some(needed) = plot.needed {
        dashed(&mut panel, plot.span, needed)?;
    }
    line(&mut panel, &plot.evidence, TEST)
}

fn panel<'a, 'b>(
    plot: &Plot,
    area: &Area<'b>,
    title: &str,
    (low, high): (f64, f64),
) -> Result<Panel<'a, 'b>, Box<dyn Error>> {
    let panel = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .margin_right(44)
        .x_label_area_size(30)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..plot.span, low..high)?;
    Ok(panel)
}

fn mesh(panel: &mut Panel<'_, '_>, unit: &str, label: &dyn Fn(&f64) -> String) -> Drawn {
    panel
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("seconds")
        .y_desc(unit)
        .y_label_formatter(&label)
        .x_label_formatter(&|seconds| format!("{seconds:.0}"))
        .draw()?;
    Ok(())
}

fn line(panel: &mut Panel<'_, '_>, points: &[(f64, f64)], colour: RGBColor) -> Drawn {
    panel.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
    Ok(())
}

fn dashed(panel: &mut Panel<'_, '_>, span: f64, at: f64) -> Drawn {
    let ends = [(0.0, at), (span, at)];
    panel.draw_series(DashedLineSeries::new(ends, 6, 4, LIMIT.stroke_width(2)))?;
    Ok(())
}

/// A line up for each step, with the share that was confirmed there; and where the traffic went back.
fn steps(plot: &Plot, panel: &mut Panel<'_, '_>, (low, high): (f64, f64)) -> Drawn {
    let shares = plot.steps.iter().map(|(at, share)| (*at, share.to_string(), STEP));
    let back = plot.rolled_back.map(|at| (at, "back".to_owned(), TEST));
    for (at, name, colour) in shares.chain(back) {
        let upright = vec![(at, low), (at, high)];
        panel.draw_series([PathElement::new(upright, colour.stroke_width(1))])?;
        let font = ("sans-serif", 12).into_font().color(&colour);
        panel.draw_series([Text::new(name, (at, high), font)])?;
    }
    Ok(())
}
