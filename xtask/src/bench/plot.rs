//! Line charts as SVG. Written by hand and not by a plotting library: the colours come from a style sheet, so that one
//! picture is legible on light and on dark pages.

use std::fmt::Write as _;

use super::number::whole;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
/// The area of the lines: left, top, right, bottom.
const AREA: [f64; 4] = [76.0, 84.0, 726.0, 380.0];

const STYLE: &str = "\
text{font:13px system-ui,'Segoe UI',Helvetica,Arial,sans-serif;fill:#24292f}
.title{font-size:16px;font-weight:600}
.page{fill:#ffffff}
.grid{stroke:#d8dee4;stroke-width:1}
.axis{stroke:#57606a;stroke-width:1}
.line{fill:none;stroke-width:2.25;stroke-linejoin:round}
.dashed{stroke-dasharray:7 4}
.a{stroke:#0969da}.mark.a{fill:#0969da}
.b{stroke:#bc4c00}.mark.b{fill:#bc4c00}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}
.page{fill:#0d1117}
.grid{stroke:#30363d}
.axis{stroke:#8b949e}
.a{stroke:#58a6ff}.mark.a{fill:#58a6ff}
.b{stroke:#f0883e}.mark.b{fill:#f0883e}
}
";

/// A chart.
pub(super) struct Chart {
    pub(super) title: &'static str,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
}

pub(super) struct Axis {
    /// What, and in which unit.
    pub(super) label: &'static str,
    pub(super) scale: Scale,
    /// Where there are grid lines and numbers, ascending; the first and the last bound the axis.
    pub(super) ticks: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    Logarithmic,
}

/// A line with its points.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) look: Look,
    pub(super) points: Vec<(f64, f64)>,
}

/// Colour and marks tell the stores apart, dashes what is shown of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) second_colour: bool,
    pub(super) dashed: bool,
}

impl Axis {
    /// From nothing to the next round number above `most`.
    pub(super) fn linear(label: &'static str, most: f64) -> Self {
        let power = 10_f64.powf((most.max(1.0) / 5.0).log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
        let step = step.into_iter().find(|step| step * 5.0 >= most).unwrap_or(most);
        let n_steps = (most / step).ceil().max(1.0);
        let ticks =
            (0_u32..).map(f64::from).take_while(|nth| *nth <= n_steps).map(|nth| nth * step).collect();
        Self { label, scale: Scale::Linear, ticks }
    }

    /// From the last of 1, 2, 5, 10, … not above `least` to the first not below `most`.
    pub(super) fn logarithmic(label: &'static str, least: f64, most: f64) -> Self {
        let all: Vec<f64> =
            (-4..8).flat_map(|power| [1.0, 2.0, 5.0].map(|n| n * 10_f64.powi(power))).collect();
        let first = all.iter().rposition(|tick| *tick <= least).unwrap_or_default();
        let last = all.iter().position(|tick| *tick >= most).unwrap_or(all.len() - 1).max(first + 1);
        Self { label, scale: Scale::Logarithmic, ticks: all[first..=last].to_vec() }
    }

    /// At these values.
    pub(super) fn at(label: &'static str, ticks: Vec<f64>) -> Self {
        Self { label, scale: Scale::Logarithmic, ticks }
    }

    /// Where a value lies between the ends of the axis, 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let scaled = |value: f64| match self.scale {
            Scale::Linear => value,
            Scale::Logarithmic => value.max(f64::MIN_POSITIVE).ln(),
        };
        let (Some(first), Some(last)) = (self.ticks.first(), self.ticks.last()) else { return 0.0 };
        let width = scaled(*last) - scaled(*first);
        if width > 0.0 { ((scaled(value) - scaled(*first)) / width).clamp(0.0, 1.0) } else { 0.5 }
    }
}

impl Chart {
    pub(super) fn svg(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n\
             <rect class=\"page\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\"/>\n",
            title = self.title,
        );
        text(&mut svg, (AREA[0], 30.0), "start", "title", self.title);
        self.legend(&mut svg);
        self.axes(&mut svg);
        for series in &self.series {
            self.line(&mut svg, series);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn x(&self, value: f64) -> f64 {
        AREA[0] + self.x.place(value) * (AREA[2] - AREA[0])
    }

    fn y(&self, value: f64) -> f64 {
        AREA[3] - self.y.place(value) * (AREA[3] - AREA[1])
    }

    fn legend(&self, svg: &mut String) {
        let mut x = AREA[0];
        for series in &self.series {
            let y = 54.0;
            push(svg, &format!("<path class=\"{}\" d=\"M{x} {y}h34\"/>", series.look.line()));
            mark(svg, series.look, (x + 17.0, y));
            text(svg, (x + 42.0, y + 4.5), "start", "", &series.name);
            x += 42.0 + 7.4 * series.name.chars().count() as f64 + 22.0;
        }
    }

    fn axes(&self, svg: &mut String) {
        let [left, top, right, bottom] = AREA;
        for tick in &self.y.ticks {
            let y = self.y(*tick);
            push(svg, &format!("<path class=\"grid\" d=\"M{left} {y:.1}H{right}\"/>"));
            text(svg, (left - 9.0, y + 4.5), "end", "", &number(*tick));
        }
        for tick in &self.x.ticks {
            let x = self.x(*tick);
            push(svg, &format!("<path class=\"grid\" d=\"M{x:.1} {top}V{bottom}\"/>"));
            text(svg, (x, bottom + 20.0), "middle", "", &number(*tick));
        }
        push(svg, &format!("<path class=\"axis\" fill=\"none\" d=\"M{left} {top}V{bottom}H{right}\"/>"));
        let middle = (left + right) / 2.0;
        text(svg, (middle, HEIGHT - 16.0), "middle", "", self.x.label);
        let (x, y) = (18.0, (top + bottom) / 2.0);
        push(
            svg,
            &format!(
                "<text transform=\"translate({x} {y}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
                self.y.label
            ),
        );
    }

    fn line(&self, svg: &mut String, series: &Series) {
        let places: Vec<_> = series.points.iter().map(|(x, y)| (self.x(*x), self.y(*y))).collect();
        let mut path = String::new();
        for (nth, (x, y)) in places.iter().enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(path, "{}{x:.1} {y:.1}", if nth == 0 { 'M' } else { 'L' });
        }
        push(svg, &format!("<path class=\"{}\" d=\"{path}\"/>", series.look.line()));
        for place in places {
            mark(svg, series.look, place);
        }
    }
}

impl Look {
    fn colour(self) -> &'static str {
        if self.second_colour { "b" } else { "a" }
    }

    fn line(self) -> String {
        format!("line {}{}", self.colour(), if self.dashed { " dashed" } else { "" })
    }
}

/// Round in the first colour, square in the second, for those who see no colours.
fn mark(svg: &mut String, look: Look, (x, y): (f64, f64)) {
    let colour = look.colour();
    let mark = if look.second_colour {
        format!(
            "<rect class=\"mark {colour}\" x=\"{:.1}\" y=\"{:.1}\" width=\"7\" height=\"7\"/>",
            x - 3.5,
            y - 3.5
        )
    } else {
        format!("<circle class=\"mark {colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>")
    };
    push(svg, &mark);
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, class: &str, text: &str) {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    push(svg, &format!("<text{class} x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"));
}

fn push(svg: &mut String, element: &str) {
    svg.push_str(element);
    svg.push('\n');
}

fn number(value: f64) -> String {
    if value >= 1_000.0 { whole(value) } else { format!("{}", (value * 10_000.0).round() / 10_000.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!(Axis::linear("", 12_345.0).ticks, [0.0, 2_500.0, 5_000.0, 7_500.0, 10_000.0, 12_500.0]);
        assert_eq!(Axis::linear("", 5_000.0).ticks.last(), Some(&5_000.0));
        assert_eq!(Axis::linear("", 0.0).ticks, [0.0, 0.1]);
        assert_eq!(Axis::logarithmic("", 1.4, 33.0).ticks, [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
        assert_eq!(Axis::logarithmic("", 20.0, 20.0).ticks, [20.0, 50.0]);
    }

    #[test]
    fn values_find_their_place() {
        let axis = Axis::at("", vec![1.0, 4.0, 16.0]);
        assert_eq!([1.0, 4.0, 16.0, 99.0].map(|value| axis.place(value)), [0.0, 0.5, 1.0, 1.0]);
        assert_eq!(Axis::linear("", 10.0).place(5.0), 0.5);
    }

    #[test]
    fn a_chart_is_drawn() {
        let look = |second_colour, dashed| Look { second_colour, dashed };
        let chart = Chart {
            title: "Throughput",
            x: Axis::at("connections", vec![1.0, 16.0]),
            y: Axis::linear("jobs/s", 1_000.0),
            series: vec![
                Series {
                    name: "SQLite".into(),
                    look: look(false, false),
                    points: vec![(1.0, 0.0), (16.0, 1_000.0)],
                },
                Series { name: "PostgreSQL".into(), look: look(true, true), points: vec![(16.0, 500.0)] },
            ],
        };
        let svg = chart.svg();
        for part in [
            "<path class=\"line a\" d=\"M76.0 380.0L726.0 84.0\"/>",
            "<circle class=\"mark a\" cx=\"726.0\" cy=\"84.0\" r=\"4\"/>",
            "<path class=\"line b dashed\" d=\"M726.0 232.0\"/>",
            "<text x=\"67.0\" y=\"88.5\" text-anchor=\"end\">1,000</text>",
            ">connections</text>",
            ">jobs/s</text>",
            ">PostgreSQL</text>",
            "prefers-color-scheme:dark",
        ] {
            assert!(svg.contains(part), "{part} is not in:\n{svg}");
        }
    }
}
