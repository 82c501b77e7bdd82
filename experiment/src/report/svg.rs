//! Figures as SVG, in print size: 180 mm wide at 96 pixels per inch, with text of at least 10 pt.

use std::fmt::Write;

use super::figure::{Dimension, Figure, Kind, Mark, Panel};
use super::scale::{Axis, Scale};

const WIDTH: f64 = 680.0;
const SINGLE_HEIGHT: f64 = 360.0;
const PANEL_HEIGHT: f64 = 236.0;
const FONT: &str = "DejaVu Sans, Verdana, sans-serif";
/// 10 pt.
const SMALL: f64 = 13.34;
const LINE: f64 = 18.0;
const EDGE: f64 = 12.0;
const SAMPLE: f64 = 46.0;
const LEGEND_ROOM: f64 = WIDTH - 2.0 * EDGE - SAMPLE;
const INK: &str = "#222222";
const FAINT: &str = "#dddddd";

/// Okabe and Ito's colours without yellow, which is too pale for lines on white. Neighbours also differ in lightness.
const COLOURS: [&str; 7] = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"];
const DASHES: [&str; 5] = ["", "8 4", "2 3", "9 3 2 3", "14 4"];
const SHAPES: usize = 6;

fn colour(style: usize) -> &'static str {
    COLOURS[style % COLOURS.len()]
}

/// Approximate width of a text in DejaVu Sans, the widest of the possible fonts.
fn width(text: &str, size: f64) -> f64 {
    let em = |c: char| match c {
        'i' | 'l' | 'j' | 'I' | '.' | ',' | '\'' | ':' | ';' | '|' | ' ' | '(' | ')' | 'f' | 't' | '/' => {
            0.36
        }
        'm' | 'w' | 'M' | 'W' | '%' | '@' | '=' | '·' | '−' => 0.9,
        c if c.is_uppercase() => 0.7,
        _ => 0.62,
    };
    text.chars().map(em).sum::<f64>() * size
}

/// A text, shortened to fit.
fn fitted(text: &str, room: f64) -> String {
    if width(text, SMALL) <= room {
        return text.into();
    }
    let mut cut: String = text.into();
    while !cut.is_empty() && width(&cut, SMALL) + SMALL > room {
        cut.pop();
    }
    cut + "…"
}

/// Escapes a text for XML. Control characters, which XML cannot represent, become the replacement character.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// The area between the axes.
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x: Axis,
    y: Axis,
}

impl Frame {
    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (
            self.left + self.x.place(x) * (self.right - self.left),
            self.bottom - self.y.place(y) * (self.bottom - self.top),
        )
    }
}

struct Canvas(String);

impl Canvas {
    fn add(&mut self, element: std::fmt::Arguments) {
        self.0.write_fmt(element).expect("a string takes everything");
        self.0.push('\n');
    }

    fn text(&mut self, (x, y): (f64, f64), anchor: &str, extra: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        let text = escape(text);
        self.add(format_args!(r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}"{extra}>{text}</text>"#));
    }

    fn rule(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), stroke: &str) {
        self.add(format_args!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{stroke}"/>"#
        ));
    }

    fn path(
        &mut self,
        points: impl Iterator<Item = (f64, f64)>,
        style: usize,
        stroke_width: f64,
        dashes: &str,
    ) {
        let mut path = String::new();
        for (at, (x, y)) in points.enumerate() {
            write!(path, "{}{x:.2} {y:.2}", if at == 0 { "M" } else { " L" })
                .expect("a string takes everything");
        }
        let dashes =
            if dashes.is_empty() { String::new() } else { format!(r#" stroke-dasharray="{dashes}""#) };
        self.add(format_args!(
            r#"<path d="{path}" fill="none" stroke="{}" stroke-width="{stroke_width}" stroke-linejoin="round"{dashes}/>"#,
            colour(style)
        ));
    }

    /// A marker in the shape of the style. Filled ones have a white rim, which separates overlapping ones.
    fn marker(&mut self, (x, y): (f64, f64), style: usize, kind: Kind) {
        let r = if kind == Kind::Repeats { 2.6 } else { 4.6 };
        let paint = match kind {
            Kind::Hollow => format!(r##"fill="#ffffff" stroke="{}" stroke-width="1.8""##, colour(style)),
            Kind::Repeats => format!(r#"fill="none" stroke="{}" stroke-width="1""#, colour(style)),
            _ => format!(r##"fill="{}" stroke="#ffffff" stroke-width="0.8""##, colour(style)),
        };
        let polygon = |corners: &[(f64, f64)]| {
            let corners: Vec<_> =
                corners.iter().map(|(dx, dy)| format!("{:.2},{:.2}", x + dx * r, y + dy * r)).collect();
            format!(r#"<polygon points="{}" {paint}/>"#, corners.join(" "))
        };
        let element = match style % SHAPES {
            0 => format!(r#"<circle cx="{x:.2}" cy="{y:.2}" r="{r}" {paint}/>"#),
            1 => polygon(&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),
            2 => polygon(&[(0.0, -1.2), (1.1, 0.8), (-1.1, 0.8)]),
            3 => polygon(&[(0.0, -1.3), (1.1, 0.0), (0.0, 1.3), (-1.1, 0.0)]),
            4 => polygon(&[(0.0, 1.2), (1.1, -0.8), (-1.1, -0.8)]),
            _ => polygon(&[(-0.6, -1.1), (0.6, -1.1), (1.2, 0.0), (0.6, 1.1), (-0.6, 1.1), (-1.2, 0.0)]),
        };
        self.add(format_args!("{element}"));
    }

    fn mark(&mut self, mark: &Mark, frame: &Frame) {
        let places: Vec<_> = mark.points.iter().map(|p| frame.at(*p)).collect();
        let dashes = DASHES[mark.style % DASHES.len()];
        match mark.kind {
            Kind::Line | Kind::Bare => self.path(places.iter().copied(), mark.style, 2.0, dashes),
            Kind::Stem => self.path(places.iter().copied(), mark.style, 1.6, ""),
            Kind::Steps => {
                let corners = places.windows(2).flat_map(|pair| [(pair[1].0, pair[0].1), pair[1]]);
                self.path(places.first().copied().into_iter().chain(corners), mark.style, 1.8, dashes);
            }
            Kind::Rule => {
                if let Some((_, y)) = places.first().copied() {
                    self.path([(frame.left, y), (frame.right, y)].into_iter(), mark.style, 1.5, "5 4");
                    let at = (frame.right - 4.0, y - 5.0);
                    self.text(at, "end", "", mark.label.as_deref().unwrap_or_default());
                }
            }
            Kind::Bars => {
                let unit = (frame.at((1.0, 0.0)).0 - frame.at((0.0, 0.0)).0).abs();
                let half = (unit * 0.36).min(22.0);
                let foot = frame.at((0.0, frame.y.low())).1;
                for (x, y) in &places {
                    self.add(format_args!(
                        r#"<rect x="{:.2}" y="{y:.2}" width="{:.2}" height="{:.2}" fill="{}"/>"#,
                        x - half,
                        half * 2.0,
                        foot - y,
                        colour(mark.style)
                    ));
                }
            }
            Kind::Dots | Kind::Hollow | Kind::Repeats => {}
        }
        if matches!(mark.kind, Kind::Line | Kind::Dots | Kind::Hollow | Kind::Repeats) {
            for place in places {
                self.marker(place, mark.style, mark.kind);
            }
        }
    }

    /// The entry's sample, left of `x`.
    fn sample(&mut self, mark: &Mark, x: f64, y: f64) {
        let ends = [(x, y), (x + SAMPLE - 8.0, y)];
        let middle = (x + SAMPLE / 2.0 - 4.0, y);
        let dashes = DASHES[mark.style % DASHES.len()];
        match mark.kind {
            Kind::Line | Kind::Bare | Kind::Steps => self.path(ends.into_iter(), mark.style, 2.0, dashes),
            _ => {}
        }
        if matches!(mark.kind, Kind::Line | Kind::Dots | Kind::Hollow | Kind::Repeats) {
            self.marker(middle, mark.style, mark.kind);
        }
    }

    fn axes(&mut self, panel: &Panel, frame: &Frame) {
        let Frame { left, right, top, bottom, x, y } = frame;
        for (value, label) in &y.ticks {
            let (_, at) = frame.at((x.low(), *value));
            self.rule((*left, at), (*right, at), FAINT);
            self.text((left - 6.0, at + 4.8), "end", "", label);
        }
        for value in &y.minor {
            let (_, at) = frame.at((x.low(), *value));
            self.rule((*left, at), (left + 4.0, at), INK);
        }
        let mut free_from = f64::NEG_INFINITY;
        for (value, label) in &x.ticks {
            let (at, _) = frame.at((*value, y.low()));
            let lines = wrapped(label, (right - left) / x.ticks.len() as f64, &panel.x.scale);
            let half = lines.iter().map(|l| width(l, SMALL)).fold(0.0, f64::max) / 2.0;
            self.rule((at, *bottom), (at, bottom + 5.0), INK);
            if at - half < free_from {
                continue;
            }
            free_from = at + half + 4.0;
            for (n, line) in lines.iter().enumerate() {
                self.text((at, bottom + LINE + n as f64 * 16.0), "middle", "", line);
            }
        }
        for value in &x.minor {
            let (at, _) = frame.at((*value, y.low()));
            self.rule((at, *bottom), (at, bottom - 4.0), INK);
        }
        self.rule((*left, *bottom), (*right, *bottom), INK);
        self.rule((*left, *top), (*left, *bottom), INK);
    }
}

/// Names that are too wide are broken into several lines at blanks; a word that is still too wide is shortened. Numbers
/// are never shortened: one that is left out can be inferred from its neighbours.
fn wrapped(label: &str, room: f64, scale: &Scale) -> Vec<String> {
    // So that neighbours do not touch.
    let room = room - 5.0;
    let is_name = matches!(scale, Scale::Names(_)) && label.chars().any(char::is_alphabetic);
    if !is_name || width(label, SMALL) <= room {
        return vec![label.into()];
    }
    let mut lines: Vec<String> = Vec::new();
    for word in label.split(' ') {
        match lines.last_mut() {
            Some(line) if width(line, SMALL) + width(word, SMALL) + 5.0 <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(fitted(word, room)),
        }
    }
    lines
}

/// The ranges of all panels, without the points that their axes cannot show.
fn axes(figure: &Figure, plot_width: f64, plot_height: f64) -> Vec<(Axis, Axis)> {
    let values = |panel: &Panel, of: fn(&(f64, f64)) -> f64, rules: bool| -> Vec<f64> {
        let marks = panel.marks.iter().filter(|m| rules || m.kind != Kind::Rule);
        marks.flat_map(|m| m.points.iter().map(of)).collect()
    };
    let all = |of: fn(&(f64, f64)) -> f64, rules: bool| -> Vec<f64> {
        figure.panels.iter().flat_map(|p| values(p, of, rules)).collect()
    };
    let fit =
        |dimension: &Dimension, values: Vec<f64>, most: usize| dimension.scale.fit(values.into_iter(), most);
    let (most_x, most_y) = ((plot_width / 62.0) as usize, (plot_height / 42.0) as usize);
    let (x, y): (fn(&_) -> _, fn(&_) -> _) = (|p: &(f64, f64)| p.0, |p: &(f64, f64)| p.1);
    let pair = |panel: &Panel| {
        let xs = if figure.share_x { all(x, false) } else { values(panel, x, false) };
        let ys = if figure.share_y { all(y, true) } else { values(panel, y, true) };
        (fit(&panel.x, xs, most_x.max(3)), fit(&panel.y, ys, most_y.max(3)))
    };
    figure.panels.iter().map(pair).collect()
}

/// The entries of the legend with their positions, and the height.
fn legend(figure: &Figure) -> (Vec<(&Mark, f64, f64)>, f64) {
    let mut entries: Vec<(&Mark, f64, f64)> = Vec::new();
    let (mut x, mut y) = (EDGE, 0.0);
    let marks = || figure.panels.iter().flat_map(|p| &p.marks);
    // Measurements first, fitted lines last.
    let measured = marks().filter(|m| !matches!(m.kind, Kind::Rule | Kind::Bare));
    for mark in measured.chain(marks().filter(|m| m.kind == Kind::Bare)) {
        let Some(label) = &mark.label else { continue };
        if entries.iter().any(|(seen, ..)| seen.label == mark.label) {
            continue;
        }
        let wide = SAMPLE + width(&fitted(label, LEGEND_ROOM), SMALL) + 14.0;
        if x > EDGE && x + wide > WIDTH {
            (x, y) = (EDGE, y + LINE + 2.0);
        }
        entries.push((mark, x, y));
        x += wide;
    }
    let height = if entries.is_empty() { 0.0 } else { y + LINE + 6.0 };
    (entries, height)
}

/// Whether the names on the axis would not fit under half a figure.
fn is_crowded(panel: &Panel) -> bool {
    let Scale::Names(names) = &panel.x.scale else { return false };
    let room = (WIDTH / 2.0 - 100.0) / names.len() as f64;
    names.iter().flat_map(|name| name.split(' ')).any(|word| width(word, SMALL) > room)
}

/// Draws a figure. Text stays text, and the file is self-contained.
pub fn draw(figure: &Figure) -> String {
    let mut figure = figure.clone();
    for panel in &mut figure.panels {
        let (x, y) = (panel.x.scale.clone(), panel.y.scale.clone());
        for mark in &mut panel.marks {
            mark.points.retain(|p| x.takes(p.0) && y.takes(p.1));
        }
    }
    let (entries, legend_height) = legend(&figure);
    let columns = if figure.panels.len() == 1 || figure.panels.iter().any(is_crowded) { 1 } else { 2 };
    let rows = figure.panels.len().div_ceil(columns);
    let slot = (WIDTH - EDGE) / columns as f64;
    let titled = if figure.panels.iter().any(|p| !p.title.is_empty()) { LINE + 4.0 } else { 0.0 };
    let plot_height = if figure.panels.len() == 1 { SINGLE_HEIGHT } else { PANEL_HEIGHT } - titled - 52.0;
    let axes = axes(&figure, slot - 80.0, plot_height);
    let tick_width =
        axes.iter().flat_map(|(_, y)| &y.ticks).map(|(_, l)| width(l, SMALL)).fold(0.0, f64::max);
    let left = EDGE + LINE + tick_width + 8.0;
    let right = 20.0;
    let lines = |(panel, (x, _)): (&Panel, &(Axis, Axis))| {
        let room = (slot - left - right) / x.ticks.len().max(1) as f64;
        x.ticks.iter().map(|(_, label)| wrapped(label, room, &panel.x.scale).len()).max().unwrap_or(1)
    };
    let extra = (figure.panels.iter().zip(&axes).map(lines).max().unwrap_or(1) - 1) as f64 * 16.0;
    let unlabelled = figure.panels.iter().all(|p| p.x.label.is_empty());
    let row_height = titled + plot_height + if unlabelled { 34.0 } else { 52.0 } + extra;
    let head = 30.0 + legend_height;
    let height = head + rows as f64 * row_height + 6.0;

    let title = escape(&figure.title);
    let mut canvas = Canvas(String::new());
    canvas.add(format_args!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{title}" width="{WIDTH}" height="{height:.0}" viewBox="0 0 {WIDTH} {height:.0}" font-family="{FONT}" font-size="{SMALL}" fill="{INK}">"#
    ));
    canvas.add(format_args!(r##"<rect width="100%" height="100%" fill="#ffffff"/>"##));
    canvas.text((EDGE, 20.0), "start", r#" font-size="15.5" font-weight="bold""#, &figure.title);
    for (mark, x, y) in entries {
        let y = 30.0 + y + LINE / 2.0;
        canvas.sample(mark, x, y);
        let label = fitted(mark.label.as_deref().unwrap_or_default(), LEGEND_ROOM);
        canvas.text((x + SAMPLE - 3.0, y + 4.8), "start", "", &label);
    }
    for (at, (panel, (x, y))) in figure.panels.iter().zip(axes).enumerate() {
        let (slot_x, slot_y) = ((at % columns) as f64 * slot, head + (at / columns) as f64 * row_height);
        let top = slot_y + titled + 4.0;
        let bottom = top + plot_height - 4.0;
        let frame = Frame { left: slot_x + left, right: slot_x + slot - right, top, bottom, x, y };
        // Bold letters are a tenth wider.
        let title = fitted(&panel.title, (slot - left) / 1.1);
        canvas.text((frame.left, slot_y + LINE - 2.0), "start", r#" font-weight="bold""#, &title);
        canvas.axes(panel, &frame);
        for mark in &panel.marks {
            canvas.mark(mark, &frame);
        }
        let middle = ((frame.left + frame.right) / 2.0, bottom + LINE * 2.0 + 2.0 + extra);
        canvas.text(middle, "middle", "", &panel.x.label);
        let (x, y) = (slot_x + EDGE + 4.0, (top + bottom) / 2.0);
        let turned = format!(r#" transform="rotate(-90 {x:.1} {y:.1})""#);
        canvas.text((x, y), "middle", &turned, &panel.y.label);
    }
    canvas.0.push_str("</svg>\n");
    canvas.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_share_the_room_under_the_axis() {
        let names = Scale::Names(Vec::new());
        assert_eq!(wrapped("trace burst.csv", 400.0, &names), ["trace burst.csv"]);
        assert_eq!(wrapped("trace burst.csv", 90.0, &names), ["trace", "burst.csv"]);
        let cut = wrapped("trace burst.csv", 60.0, &names);
        assert!(cut.len() == 2 && cut[1].ends_with('…'), "{cut:?}");
        assert!(cut.iter().all(|line| width(line, SMALL) <= 60.0), "{cut:?}");
        assert_eq!(wrapped("1,024", 5.0, &names), ["1,024"]);
        assert_eq!(wrapped("0.5 s", 5.0, &Scale::Log), ["0.5 s"]);
    }

    #[test]
    fn what_xml_would_read_is_escaped() {
        assert_eq!(escape("<b>\"&\u{1}"), "&lt;b&gt;&quot;&amp;\u{fffd}");
    }
}
