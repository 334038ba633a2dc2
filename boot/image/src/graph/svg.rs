//! The graph as a picture that every browser shows.

use std::fmt::Write;

use ecusson_manifest::Composition;

use super::layout::{LINE, Placed, layout};
use super::{Edge, EdgeKind, Graph, Node, NodeKind};

/// Height of the legend below the picture.
const LEGEND: f64 = 40.0;
/// Least width, so that the legend fits.
const LEAST_WIDTH: f64 = 820.0;

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
    for (index, edge) in graph.edges.iter().enumerate() {
        // Edges between the same two nodes lie beside each other.
        let same = |other: &&Edge| (other.from, other.to) == (edge.from, edge.to);
        let beside = graph.edges[..index].iter().filter(same).count();
        draw_edge(&mut text, edge, placed[edge.from], placed[edge.to], beside);
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

fn draw_edge(text: &mut String, edge: &Edge, from: Placed, to: Placed, beside: usize) {
    let shift = (beside as f64 + 1.0) / 2.0 * 22.0 * if beside % 2 == 0 { -1.0 } else { 1.0 };
    let shift = if beside == 0 { 0.0 } else { shift };
    let (x1, x2) = (from.x + from.width / 2.0 + shift, to.x + to.width / 2.0 + shift);
    let down = to.y >= from.y + from.height;
    let up = to.y + to.height <= from.y;
    let (y1, y2) = match (down, up) {
        (true, _) => (from.y + from.height, to.y),
        (_, true) => (from.y, to.y + to.height),
        // The same layer: an arc below.
        _ => (from.y + from.height, to.y + to.height),
    };
    let bend = if down || up { (y2 - y1) / 2.0 } else { 45.0 };
    let (c1, c2) = (y1 + bend, if down || up { y2 - bend } else { y2 + bend });
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
    // Middle of a cubic curve.
    let (x, y) = (
        (x1 + x2) / 2.0,
        (y1 + 3.0 * c1 + 3.0 * c2 + y2) / 8.0 + beside as f64 * 12.0,
    );
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
