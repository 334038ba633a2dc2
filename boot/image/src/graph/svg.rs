//! The graph as a picture that every browser shows.

use std::collections::BTreeMap;
use std::fmt::Write;

use ecusson_manifest::Composition;

use super::layout::{LINE, Placed, layout};
use super::{Edge, EdgeKind, Graph, Node, NodeKind};

/// Height of the legend below the picture.
const LEGEND: f64 = 40.0;
/// Least width, so that the legend fits.
const LEAST_WIDTH: f64 = 980.0;

/// The capability graph as an `.svg` file.
#[must_use]
pub fn svg(composition: &Composition) -> String {
    let graph = Graph::new(composition);
    let (placed, width, height) = layout(&graph);
    let width = width.max(LEAST_WIDTH);
    let mut text = String::new();
    // Writing to a string does not fail, here and below.
    let _ = writeln!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {:.0}\" font-family=\"sans-serif\">",
        height + LEGEND
    );
    text.push_str("<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<defs>\n");
    for (kind, _) in EdgeKind::ALL {
        let _ = writeln!(
            text,
            "<marker id=\"{kind:?}\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
             orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"{}\"/></marker>",
            kind.colour()
        );
    }
    text.push_str("</defs>\n");
    for (index, (edge, ends)) in graph.edges.iter().zip(ends(&graph, &placed)).enumerate() {
        draw_edge(&mut text, edge, ends, index);
    }
    for (node, place) in graph.nodes.iter().zip(&placed) {
        draw_node(&mut text, node, *place);
    }
    legend(&mut text, height);
    text.push_str("</svg>\n");
    text
}

fn draw_node(text: &mut String, node: &Node, place: Placed) {
    let (fill, radius) = match node.kind {
        NodeKind::Process => ("#eef3fa", 6.0),
        NodeKind::File => ("#f0f5ec", 0.0),
        NodeKind::Region => ("#f6f3e6", place.height / 2.0),
    };
    let _ = writeln!(
        text,
        "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"{radius:.1}\" fill=\"{fill}\" \
         stroke=\"#333\"/>",
        place.x, place.y, place.width, place.height
    );
    for (line, content) in node.lines.iter().enumerate() {
        let (size, weight) = if line == 0 { (13, "bold") } else { (11, "normal") };
        let _ = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"{size}\" font-weight=\"{weight}\">{}</text>",
            place.x + place.width / 2.0,
            place.y + 10.0 + LINE * (line as f64 + 0.75),
            escape(content)
        );
    }
}

/// Which side of a node an edge leaves from or comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Top,
    Bottom,
}

/// Both ends of an edge, each with its side.
#[derive(Clone, Copy, Debug)]
struct Ends {
    from: (f64, f64, Side),
    to: (f64, f64, Side),
}

/// Where every edge ends: the edges on one side of a node share it evenly, in the order of the nodes they go to.
fn ends(graph: &Graph, placed: &[Placed]) -> Vec<Ends> {
    let sides = |edge: &Edge| {
        let (from, to) = (placed[edge.from], placed[edge.to]);
        if to.y >= from.y + from.height {
            (Side::Bottom, Side::Top)
        } else if to.y + to.height <= from.y {
            (Side::Top, Side::Bottom)
        } else {
            (Side::Bottom, Side::Bottom)
        }
    };
    // For each side of each node: (x of the other node, edge, whether it is the edge's beginning).
    type Shared = BTreeMap<(usize, Side), Vec<(f64, usize, bool)>>;
    let mut shared = Shared::new();
    let middle = |node: usize| placed[node].x + placed[node].width / 2.0;
    for (index, edge) in graph.edges.iter().enumerate() {
        let (from, to) = sides(edge);
        shared
            .entry((edge.from, from))
            .or_default()
            .push((middle(edge.to), index, true));
        shared
            .entry((edge.to, to))
            .or_default()
            .push((middle(edge.from), index, false));
    }
    let nowhere = (0.0, 0.0, Side::Top);
    let mut ends = vec![
        Ends {
            from: nowhere,
            to: nowhere
        };
        graph.edges.len()
    ];
    for ((node, side), mut list) in shared {
        list.sort_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
        let place = placed[node];
        let y = if side == Side::Top {
            place.y
        } else {
            place.y + place.height
        };
        for (number, (_, edge, begins)) in list.iter().enumerate() {
            let x = place.x + place.width * (number as f64 + 1.0) / (list.len() as f64 + 1.0);
            let end = if *begins {
                &mut ends[*edge].from
            } else {
                &mut ends[*edge].to
            };
            *end = (x, y, side);
        }
    }
    ends
}

/// Draws a curve that leaves and reaches its nodes upright. `index` spreads labels that would lie on each other.
fn draw_edge(text: &mut String, edge: &Edge, ends: Ends, index: usize) {
    let (x1, y1, side1) = ends.from;
    let (x2, y2, side2) = ends.to;
    let spread = (index % 3) as f64;
    let bend = if side1 == side2 {
        50.0 + 14.0 * spread
    } else {
        (y2 - y1).abs() / 2.0
    };
    let outward = |y: f64, side: Side| if side == Side::Top { y - bend } else { y + bend };
    let (c1, c2) = (outward(y1, side1), outward(y2, side2));
    let dash = if edge.kind.is_dashed() {
        " stroke-dasharray=\"5 4\""
    } else {
        ""
    };
    let arrow = match edge.kind {
        EdgeKind::MapRead | EdgeKind::MapWrite => String::new(),
        kind => format!(" marker-end=\"url(#{kind:?})\""),
    };
    let _ = writeln!(
        text,
        "<path d=\"M{x1:.1} {y1:.1}C{x1:.1} {c1:.1} {x2:.1} {c2:.1} {x2:.1} {y2:.1}\" fill=\"none\" stroke=\"{}\" \
         stroke-width=\"1.4\"{dash}{arrow}/>",
        edge.kind.colour()
    );
    if edge.label.is_empty() {
        return;
    }
    // A point of the cubic curve near its middle.
    let t = 0.4 + 0.1 * spread;
    let cubic = |start: f64, first: f64, second: f64, end: f64| {
        let r = 1.0 - t;
        r * r * r * start + 3.0 * r * r * t * first + 3.0 * r * t * t * second + t * t * t * end
    };
    let (x, y) = (cubic(x1, x1, x2, x2), cubic(y1, c1, c2, y2));
    let _ = writeln!(
        text,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" font-size=\"10\" fill=\"{}\" stroke=\"white\" \
         stroke-width=\"3\" paint-order=\"stroke\">{}</text>",
        edge.kind.colour(),
        escape(&edge.label)
    );
}

fn legend(text: &mut String, y: f64) {
    for (index, (kind, meaning)) in EdgeKind::ALL.into_iter().enumerate() {
        let x = 20.0 + index as f64 * 160.0;
        let dash = if kind.is_dashed() {
            " stroke-dasharray=\"5 4\""
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "<path d=\"M{x:.0} {:.0}h30\" stroke=\"{}\" stroke-width=\"1.6\"{dash}/><text x=\"{:.0}\" y=\"{:.0}\" \
             font-size=\"11\">{meaning}</text>",
            y + 12.0,
            kind.colour(),
            x + 36.0,
            y + 16.0
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
