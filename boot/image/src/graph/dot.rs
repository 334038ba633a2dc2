//! The graph in Graphviz's language.

use std::fmt::Write;

use ecusson_manifest::Composition;

use super::{EdgeKind, Graph, NodeKind};

/// The capability graph as a `.dot` file.
#[must_use]
pub fn dot(composition: &Composition) -> String {
    let graph = Graph::new(composition);
    let mut text =
        String::from("digraph ecusson {\n    rankdir=TB;\n    node [fontname=\"sans-serif\", fontsize=11];\n");
    text.push_str("    edge [fontname=\"sans-serif\", fontsize=9];\n");
    for (index, node) in graph.nodes.iter().enumerate() {
        let shape = match node.kind {
            NodeKind::Process => "box",
            NodeKind::Region => "cylinder",
            NodeKind::File => "note",
        };
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "    n{index} [shape={shape}, label=\"{}\"];",
            escape(&node.lines.join("\n"))
        );
    }
    for edge in &graph.edges {
        let style = if edge.kind.is_dashed() { "dashed" } else { "solid" };
        let arrow = match edge.kind {
            EdgeKind::MapRead | EdgeKind::MapWrite => "none",
            _ => "normal",
        };
        let _ = writeln!(
            text,
            "    n{} -> n{} [label=\"{}\", color=\"{}\", style={style}, arrowhead={arrow}];",
            edge.from,
            edge.to,
            escape(&edge.label),
            edge.kind.colour()
        );
    }
    text.push_str("}\n");
    text
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
