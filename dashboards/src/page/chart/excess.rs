//! A score against its threshold as one bar, on a scale that all tests share.

use super::{BEYOND, INK, LINE, NOW, chart, filled, letters, line};
use crate::page::words::number;
use maud::Markup;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

/// The scale ends here; what is beyond is told by its number.
const MOST: f64 = 4.0;
/// Where the bar begins and ends.
const LEFT: i32 = 0;
const RIGHT: i32 = 300;
const HEIGHT: i32 = 30;

/// The bar of a score that is so many times its threshold.
pub(in crate::page) fn draw_excess(ratio: f64) -> Markup {
    let label = format!("The score is {} times its threshold.", number(ratio));
    chart(30, &label, |area| {
        let at = |ratio: f64| LEFT + ((RIGHT - LEFT) as f64 * ratio.clamp(0.0, MOST) / MOST) as i32;
        let (end, limit) = (at(ratio), at(1.0));
        area.draw(&filled([(LEFT, 5), (end.min(limit), HEIGHT - 9)], NOW))?;
        if end > limit {
            area.draw(&filled([(limit, 5), (end, HEIGHT - 9)], BEYOND))?;
        }
        area.draw(&line(vec![(LEFT, HEIGHT - 8), (RIGHT, HEIGHT - 8)], LINE))?;
        area.draw(&line(vec![(limit, 0), (limit, HEIGHT - 3)], INK))?;
        let end = if ratio > MOST { format!("{} ×", number(ratio)) } else { format!("{ratio:.2} ×") };
        area.draw(&Text::new(end, (RIGHT + 6, HEIGHT / 2 - 3), letters(HPos::Left)))?;
        Ok(())
    })
}
