//! Charts as inline SVG, drawn by `plotters`.
//!
//! Every chart says in a sentence what it shows, for those who cannot see it, and stands beside a table of its numbers. The
//! colours are attributes, which a stylesheet may override: so one drawing serves light, dark and print.

mod course;
mod distribution;
mod excess;

pub(super) use course::{Begin, Course, Point, draw_course};
pub(super) use distribution::{bars, draw_distribution};
pub(super) use excess::draw_excess;

use maud::{Markup, PreEscaped, html};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Text, and the outline of the reference.
const INK: RGBColor = RGBColor(0x33, 0x3A, 0x44);
/// Axes.
const LINE: RGBColor = RGBColor(0xB8, 0xBF, 0xC9);
/// What is.
const NOW: RGBColor = RGBColor(0x8F, 0xB8, 0xDE);
/// A line of what is.
const NOW_LINE: RGBColor = RGBColor(0x1F, 0x6F, 0xB2);
/// What is beyond where it should be.
const BEYOND: RGBColor = RGBColor(0xC4, 0x4E, 0x12);
/// A band in which something is expected.
const BAND: RGBColor = RGBColor(0xE4, 0xE8, 0xEE);

/// Width of a chart: it fits the narrowest screens as it is.
const WIDTH: u32 = 360;

/// Pixels of the letters of axes, in plotters' measure (12 in the SVG).
const LETTERS: i32 = 15;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// A drawing of so many pixels, with the sentence that says what it shows.
fn chart(height: u32, label: &str, draw: impl FnOnce(&Area<'_>) -> Drawn) -> Markup {
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        draw(&area).and_then(|()| Ok(area.present()?))
    };
    match drawn {
        Ok(()) => named(&svg, label),
        Err(error) => html! { p.note { "The chart could not be drawn (" (error) "); its numbers stand below." } },
    }
}

/// The drawing as an image with a name.
fn named(svg: &str, label: &str) -> Markup {
    let (name, drawing) = (html! { (label) }.into_string(), svg.split_once('>').map(|(_, rest)| rest));
    let Some(drawing) = drawing else { return html! {} };
    let size = svg.split_once("viewBox=").and_then(|(_, rest)| rest.split_once(" xmlns")).map(|(size, _)| size);
    let open = format!("<svg class=\"chart\" role=\"img\" aria-label=\"{name}\" viewBox={}>", size.unwrap_or_default());
    // Opacity of 1 and line ends are what SVG has anyway.
    let drawing = drawing.replace(" opacity=\"1\"", "").replace("\n</text>", "</text>").replace(">\n", ">");
    PreEscaped(open + &drawing)
}

/// Letters that are held at a corner or side of theirs.
fn letters(horizontal: HPos) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", LETTERS).into_font()).color(&INK).pos(Pos::new(horizontal, VPos::Center))
}

/// A text of at most so many letters.
fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// A filled rectangle between two corners.
fn filled(corners: [(i32, i32); 2], colour: RGBColor) -> Rectangle<(i32, i32)> {
    Rectangle::new(corners, colour.filled())
}

/// An outline between two corners.
fn outlined(corners: [(i32, i32); 2], colour: RGBColor) -> Rectangle<(i32, i32)> {
    Rectangle::new(corners, colour.stroke_width(1))
}

/// A line through these points.
fn line(points: Vec<(i32, i32)>, colour: RGBColor) -> PathElement<(i32, i32)> {
    PathElement::new(points, colour.stroke_width(1))
}
