//! A value over the last windows: points by time, a limit, a band, moments that matter, and gaps where nothing could be judged.

use super::{Area, BAND, BEYOND, Drawn, INK, LINE, NOW_LINE, WIDTH, chart, filled, letters, line};
use crate::page::words::{axis, moment_text};
use maud::Markup;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

/// The value of one window.
pub(in crate::page) struct Point {
    /// End of the window.
    pub(in crate::page) at_ms: i64,
    /// Its value; `None` where it could not be judged.
    pub(in crate::page) value: Option<f64>,
    /// How far it may be off.
    pub(in crate::page) error: f64,
    /// Whether it is beyond its limit.
    pub(in crate::page) is_beyond: bool,
}

/// What is drawn.
pub(in crate::page) struct Course {
    /// The sentence that says what it is.
    pub(in crate::page) label: String,
    /// By time.
    pub(in crate::page) points: Vec<Point>,
    /// A level that values are held against, with its name.
    pub(in crate::page) level: Option<(f64, &'static str)>,
    /// Moments with a name, as promotions.
    pub(in crate::page) marks: Vec<(i64, String)>,
    /// The window that all this is about.
    pub(in crate::page) here_ms: Option<i64>,
    /// Whether the scale begins at zero.
    pub(in crate::page) begin: Begin,
}

/// Where a scale begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::page) enum Begin {
    /// At zero.
    Zero,
    /// At the least value.
    Least,
}

const HEIGHT: u32 = 150;
const TOP: i32 = 18;
const BOTTOM: i32 = 122;
const LEFT: i32 = 50;
const RIGHT: i32 = WIDTH as i32 - 8;

/// From values to pixels.
struct Scale {
    times: (i64, i64),
    values: (f64, f64),
}

impl Scale {
    fn of(course: &Course) -> Self {
        let times = course.points.iter().map(|point| point.at_ms);
        let (first, last) = (times.clone().min().unwrap_or_default(), times.max().unwrap_or_default());
        let ends = |point: &Point| point.value.map(|value| [value - point.error, value + point.error]);
        let ends = course.points.iter().filter_map(ends).flatten().chain(course.level.map(|(level, _)| level));
        let (least, most) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), value| (a.min(value), b.max(value)));
        let (least, most) = if least <= most { (least, most) } else { (0.0, 1.0) };
        let room = ((most - least) * 0.1).max(most.abs() * 0.02).max(1e-9);
        let low = if course.begin == Begin::Zero { 0.0 } else { least - room };
        Self { times: (first, last), values: (low, most + room) }
    }

    fn x(&self, at_ms: i64) -> i32 {
        let (first, last) = self.times;
        if last <= first {
            return (LEFT + RIGHT) / 2;
        }
        let part = (at_ms - first) as f64 / (last - first) as f64;
        LEFT + 4 + (part * (RIGHT - LEFT - 8) as f64) as i32
    }

    fn y(&self, value: f64) -> i32 {
        let (low, high) = self.values;
        let part = ((value - low) / (high - low)).clamp(0.0, 1.0);
        BOTTOM - (part * (BOTTOM - TOP) as f64) as i32
    }

    fn shows(&self, at_ms: i64) -> bool {
        (self.times.0..=self.times.1).contains(&at_ms)
    }
}

/// The chart.
pub(in crate::page) fn draw_course(course: &Course) -> Markup {
    chart(HEIGHT, &course.label, |area| {
        let scale = Scale::of(course);
        draw_here(area, course, &scale)?;
        draw_axes(area, course, &scale)?;
        draw_marks(area, course, &scale)?;
        draw_values(area, course, &scale)
    })
}

/// The window that all this is about, as a band behind it.
fn draw_here(area: &Area<'_>, course: &Course, scale: &Scale) -> Drawn {
    if let Some(here_ms) = course.here_ms.filter(|here_ms| scale.shows(*here_ms)) {
        let x = scale.x(here_ms);
        area.draw(&filled([(x - 5, TOP), (x + 5, BOTTOM)], BAND))?;
    }
    Ok(())
}

fn draw_axes(area: &Area<'_>, course: &Course, scale: &Scale) -> Drawn {
    area.draw(&line(vec![(LEFT, BOTTOM), (RIGHT, BOTTOM)], LINE))?;
    let (low, high) = scale.values;
    let level = course.level.map(|(level, _)| scale.y(level));
    for value in [low, high] {
        let y = scale.y(value);
        // The level is more telling than the end of the scale beside it.
        if level.is_none_or(|level| (level - y).abs() > 14) {
            area.draw(&Text::new(axis(value), (LEFT - 5, y), letters(HPos::Right)))?;
        }
    }
    if let Some((level, name)) = course.level {
        let y = scale.y(level);
        area.draw(&line(vec![(LEFT, y), (RIGHT, y)], INK))?;
        area.draw(&Text::new(axis(level), (LEFT - 5, y), letters(HPos::Right)))?;
        let above = if y - 9 < TOP { y + 9 } else { y - 9 };
        // On the right, where what has changed has mostly left its level.
        area.draw(&Text::new(name, (RIGHT, above), letters(HPos::Right)))?;
    }
    let (first, last) = scale.times;
    area.draw(&Text::new(moment_text(first), (LEFT, BOTTOM + 14), letters(HPos::Left)))?;
    if last > first {
        area.draw(&Text::new(moment_text(last), (RIGHT, BOTTOM + 14), letters(HPos::Right)))?;
    }
    Ok(())
}

/// Moments that matter, named where there is room.
fn draw_marks(area: &Area<'_>, course: &Course, scale: &Scale) -> Drawn {
    let mut free_from = i32::MIN;
    for (at_ms, name) in course.marks.iter().filter(|(at_ms, _)| scale.shows(*at_ms)) {
        let x = scale.x(*at_ms);
        area.draw(&PathElement::new(vec![(x, TOP - 4), (x, BOTTOM)], LINE.stroke_width(2)))?;
        let wide = 7 * name.chars().count() as i32;
        let left = (x - wide / 2).clamp(LEFT, RIGHT - wide);
        if left >= free_from {
            area.draw(&Text::new(name.clone(), (left, TOP - 10), letters(HPos::Left)))?;
            free_from = left + wide + 8;
        }
    }
    Ok(())
}

fn draw_values(area: &Area<'_>, course: &Course, scale: &Scale) -> Drawn {
    let mut unbroken = Vec::new();
    for point in &course.points {
        match point.value {
            Some(value) => unbroken.push((scale.x(point.at_ms), scale.y(value))),
            None => {
                area.draw(&line(std::mem::take(&mut unbroken), NOW_LINE))?;
                area.draw(&Text::new("?", (scale.x(point.at_ms), BOTTOM - 7), letters(HPos::Center)))?;
            }
        }
    }
    area.draw(&line(unbroken, NOW_LINE))?;
    for point in &course.points {
        let Some(value) = point.value else { continue };
        let (x, y) = (scale.x(point.at_ms), scale.y(value));
        if point.error > 0.0 {
            area.draw(&line(vec![(x, scale.y(value - point.error)), (x, scale.y(value + point.error))], NOW_LINE))?;
        }
        if point.is_beyond {
            let corners = vec![(x, y - 6), (x + 5, y + 4), (x - 5, y + 4)];
            area.draw(&Polygon::new(corners, BEYOND.filled()))?;
        } else {
            area.draw(&Circle::new((x, y), 2, NOW_LINE.filled()))?;
        }
    }
    Ok(())
}
