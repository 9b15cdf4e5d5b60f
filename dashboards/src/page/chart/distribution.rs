//! Two distributions in the same bins: the reference as an outline, the window filled, and what is more than in the reference
//! marked.
//!
//! Numbers stand side by side as bars of equal width, because bins hold about the same share of the reference and not of the
//! scale; categories lie one below the other, for their names. What is outside of all bins comes last, in one order.

use super::{Area, BEYOND, Drawn, INK, LINE, NOW, chart, filled, letters, line, outlined, short};
use crate::page::words::{number, outside, percent};
use detectors::verdict::{Bins, Distribution, OutsideKind};
use maud::Markup;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

/// One place: its name, the reference's share and the window's.
pub(in crate::page) struct Bar {
    pub(in crate::page) name: String,
    pub(in crate::page) reference: f64,
    pub(in crate::page) now: f64,
    pub(in crate::page) rows: i64,
    pub(in crate::page) is_outside: bool,
}

/// Every place of a distribution, in the order of the chart and of its table.
pub(in crate::page) fn bars(distribution: &Distribution) -> Vec<Bar> {
    let outside_rows: i64 = distribution.outside.iter().map(|count| count.rows).sum();
    let all = (distribution.rows.iter().sum::<i64>() + outside_rows).max(1) as f64;
    let bar = |name: String, reference: f64, rows: i64, is_outside: bool| Bar {
        name,
        reference,
        now: rows as f64 / all,
        rows,
        is_outside,
    };
    let inside = distribution.reference.iter().zip(&distribution.rows).enumerate();
    let inside = inside.map(|(place, (share, rows))| bar(name_of(&distribution.bins, place), *share, *rows, false));
    let outer =
        distribution.outside.iter().map(|count| bar(outside(count.kind).to_owned(), count.reference, count.rows, true));
    let (mut below, mut others): (Vec<_>, Vec<_>) = outer.partition(|bar| bar.name == outside(OutsideKind::Below));
    below.extend(inside);
    below.append(&mut others);
    below
}

fn name_of(bins: &Bins, place: usize) -> String {
    match bins {
        Bins::Numeric { edges } => match (place.checked_sub(1).and_then(|low| edges.get(low)), edges.get(place)) {
            (Some(low), Some(high)) => format!("{} to {}", number(*low), number(*high)),
            (None, Some(high)) => format!("under {}", number(*high)),
            (Some(low), None) => format!("{} and more", number(*low)),
            (None, None) => "all values".to_owned(),
        },
        Bins::Categories { names } => names.get(place).cloned().unwrap_or_default(),
        Bins::Unnamed => format!("category {}", place + 1),
    }
}

/// The chart.
pub(in crate::page) fn draw_distribution(column: &str, distribution: &Distribution) -> Markup {
    let bars = bars(distribution);
    let most = bars.iter().map(|bar| bar.reference.max(bar.now)).fold(0.01, f64::max);
    let gained = bars.iter().max_by(|a, b| (a.now - a.reference).total_cmp(&(b.now - b.reference)));
    let gained = gained.map(|bar| {
        format!(" Most gained: {}, from {} to {} of rows.", bar.name, percent(bar.reference), percent(bar.now))
    });
    let label = format!("Distribution of {column} in the reference and in the window.{}", gained.unwrap_or_default());
    match distribution.bins {
        Bins::Numeric { .. } => chart(200, &label, |area| upright(area, &bars, most)),
        _ => {
            let height = 22 * bars.len() as u32 + 4;
            chart(height, &label, |area| lying(area, &bars, most))
        }
    }
}

/// Where the bars of numbers stand, in pixels.
const TOP: i32 = 10;
const BOTTOM: i32 = 152;
const LEFT: i32 = 38;
const RIGHT: i32 = 358;
/// What is outside stands so far apart.
const APART: i32 = 14;

/// Bars of numbers.
fn upright(area: &Area<'_>, bars: &[Bar], most: f64) -> Drawn {
    let gaps = bars.windows(2).filter(|pair| matches!(pair, [a, b] if a.is_outside != b.is_outside)).count() as i32;
    let width = (RIGHT - LEFT - APART * gaps) / (bars.len() as i32).max(1);
    let high = |share: f64| BOTTOM - (share / most * (BOTTOM - TOP) as f64) as i32;
    for share in [most, most / 2.0] {
        area.draw(&line(vec![(LEFT, high(share)), (RIGHT, high(share))], LINE))?;
        area.draw(&Text::new(percent(share), (LEFT - 4, high(share)), letters(HPos::Right)))?;
    }
    let mut left = LEFT;
    let every = (bars.len() / 4).max(1);
    for (place, bar) in bars.iter().enumerate() {
        if place > 0 && bars.get(place - 1).is_some_and(|before| before.is_outside != bar.is_outside) {
            left += APART;
        }
        let right = left + width - 2;
        area.draw(&filled([(left, high(bar.now.min(bar.reference))), (right, BOTTOM)], NOW))?;
        if bar.now > bar.reference {
            area.draw(&filled([(left, high(bar.now)), (right, high(bar.reference))], BEYOND))?;
        }
        area.draw(&outlined([(left, high(bar.reference)), (right, BOTTOM)], INK))?;
        let edge = bar.name.split_once(" to ").map(|(_, high)| high).or_else(|| bar.name.strip_prefix("under "));
        match edge.filter(|_| !bar.is_outside) {
            Some(edge) if place % every == 0 => {
                area.draw(&line(vec![(right + 1, BOTTOM), (right + 1, BOTTOM + 4)], INK))?;
                area.draw(&Text::new(edge.to_owned(), (right + 1, BOTTOM + 12), letters(HPos::Center)))?;
            }
            _ => {}
        }
        left += width;
    }
    outside_names(area, bars)
}

/// The names of what is outside, which are too long to stand below their bars.
fn outside_names(area: &Area<'_>, bars: &[Bar]) -> Drawn {
    let names: Vec<&str> = bars.iter().filter(|bar| bar.is_outside).map(|bar| bar.name.as_str()).collect();
    if !names.is_empty() {
        let text = short(&format!("apart: {}", names.join(", ")), 58);
        area.draw(&Text::new(text, (38, 186), letters(HPos::Left)))?;
    }
    Ok(())
}

/// Bars of categories.
fn lying(area: &Area<'_>, bars: &[Bar], most: f64) -> Drawn {
    const LEFT: i32 = 130;
    const RIGHT: i32 = 312;
    let wide = |share: f64| LEFT + (share / most * (RIGHT - LEFT) as f64) as i32;
    for (place, bar) in bars.iter().enumerate() {
        let (top, bottom) = (22 * place as i32 + 5, 22 * place as i32 + 21);
        area.draw(&Text::new(short(&bar.name, 17), (LEFT - 6, top + 8), letters(HPos::Right)))?;
        area.draw(&filled([(LEFT, top), (wide(bar.now.min(bar.reference)), bottom)], NOW))?;
        if bar.now > bar.reference {
            area.draw(&filled([(wide(bar.reference), top), (wide(bar.now), bottom)], BEYOND))?;
        }
        area.draw(&outlined([(LEFT, top), (wide(bar.reference), bottom)], INK))?;
        let end = wide(bar.now.max(bar.reference)) + 5;
        area.draw(&Text::new(percent(bar.now), (end, top + 8), letters(HPos::Left)))?;
    }
    Ok(())
}
