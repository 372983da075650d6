//! How cost grows, drawn: one picture for each figure, both axes in powers of ten.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::servers::Tool;

/// Width and height of one picture, and the space around its axes.
const SIZE: (f64, f64) = (460.0, 320.0);
const MARGIN: (f64, f64) = (60.0, 50.0);
const COLOURS: &[&str] = &["#888888", "#1f6feb", "#8250df", "#cf222e", "#e36209", "#2da44e", "#bf8700"];

/// One figure of one server at one size.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    /// The picture's title.
    pub(crate) what: &'static str,
    /// What the size counts.
    pub(crate) of: &'static str,
    /// Whose figure it is.
    pub(crate) tool: Tool,
    /// The size.
    pub(crate) at: f64,
    /// The figure.
    pub(crate) value: f64,
}

/// The pictures side by side, two in a row; nothing if there are no points.
pub(crate) fn svg(points: &[Point]) -> Option<String> {
    let mut pictures: BTreeMap<(&str, &str), Vec<&Point>> = BTreeMap::new();
    for point in points.iter().filter(|point| point.value > 0.0) {
        pictures.entry((point.of, point.what)).or_default().push(point);
    }
    if pictures.is_empty() {
        return None;
    }
    let rows = pictures.len().div_ceil(2) as f64;
    let (width, height) = (2.0 * SIZE.0, rows * SIZE.1);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (n, ((of, what), points)) in pictures.into_iter().enumerate() {
        let (x, y) = ((n % 2) as f64 * SIZE.0, (n / 2) as f64 * SIZE.1);
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        picture(&mut svg, of, what, &points);
        svg += "</g>\n";
    }
    svg += "</svg>\n";
    Some(svg)
}

fn picture(svg: &mut String, of: &str, what: &str, points: &[&Point]) {
    let across = Axis::new(points.iter().map(|point| point.at), MARGIN.0, SIZE.0 - 90.0);
    let up = Axis::new(points.iter().map(|point| point.value), SIZE.1 - MARGIN.1, 40.0);
    let _ =
        writeln!(svg, "<text x=\"{}\" y=\"22\" font-size=\"14\">{what}, by number of {of}</text>", MARGIN.0);
    for (tick, words) in across.ticks() {
        let _ = writeln!(
            svg,
            "<line x1=\"{tick:.1}\" y1=\"{:.1}\" x2=\"{tick:.1}\" y2=\"{:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{tick:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{words}</text>",
            up.begin,
            up.end,
            up.begin + 18.0
        );
    }
    for (tick, words) in up.ticks() {
        let _ = writeln!(
            svg,
            "<line x1=\"{:.1}\" y1=\"{tick:.1}\" x2=\"{:.1}\" y2=\"{tick:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{words}</text>",
            across.begin,
            across.end,
            across.begin - 6.0,
            tick + 4.0
        );
    }
    let tools = Tool::ALL.iter().zip(COLOURS);
    for (tool, colour) in tools {
        let mut own: Vec<_> = points.iter().filter(|point| point.tool == *tool).collect();
        own.sort_by(|a, b| a.at.total_cmp(&b.at));
        let Some(last) = own.last() else { continue };
        let places: Vec<String> = own
            .iter()
            .map(|point| format!("{:.1},{:.1}", across.place(point.at), up.place(point.value)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
            places.join(" "),
            across.place(last.at) + 6.0,
            up.place(last.value) + 4.0,
            tool.name()
        );
        for place in places.iter().filter_map(|place| place.split_once(',')) {
            let _ =
                writeln!(svg, "<circle cx=\"{}\" cy=\"{}\" r=\"3\" fill=\"{colour}\"/>", place.0, place.1);
        }
    }
}

/// One direction: whole powers of ten from before the least to behind the most.
struct Axis {
    least: i32,
    most: i32,
    begin: f64,
    end: f64,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64> + Clone, begin: f64, end: f64) -> Self {
        let least = values.clone().fold(f64::INFINITY, f64::min).log10().floor() as i32;
        let most = (values.fold(0.0, f64::max).log10().ceil() as i32).max(least + 1);
        Self { least, most, begin, end }
    }

    fn place(&self, value: f64) -> f64 {
        let part = (value.log10() - f64::from(self.least)) / f64::from(self.most - self.least);
        self.begin + part * (self.end - self.begin)
    }

    fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        (self.least..=self.most).map(|power| {
            let value = 10_f64.powi(power);
            (self.place(value), format!("{value}"))
        })
    }
}
