//! Places the nodes in layers: callers above those they call, regions at the bottom, neighbours near each other.
//!
//! Key function: [`layout`]. Called by `svg`. The classic scheme (Sugiyama): layers by longest path, order by
//! barycentres; small graphs, so no care for speed.

use super::{EdgeKind, Graph, NodeKind};

/// Where a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Placed {
    /// Left edge.
    pub(super) x: f64,
    /// Upper edge.
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Height of a line of text and room around it, in pixels.
pub(super) const LINE: f64 = 15.0;
const CHARACTER: f64 = 6.6;
const PADDING: f64 = 10.0;
const GAP_X: f64 = 70.0;
const GAP_Y: f64 = 90.0;
/// Sweeps over the layers; more change nothing in graphs of this size.
const SWEEPS: usize = 12;

/// Places all nodes; the result has one entry a node, and the extent of the whole picture.
pub(super) fn layout(graph: &Graph) -> (Vec<Placed>, f64, f64) {
    let layers = order(graph, &ranks(graph));
    let size = |node: usize| {
        let lines = &graph.nodes[node].lines;
        let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        (
            longest as f64 * CHARACTER + 2.0 * PADDING,
            lines.len() as f64 * LINE + 2.0 * PADDING,
        )
    };
    let widths: Vec<f64> = layers
        .iter()
        .map(|layer| layer.iter().map(|node| size(*node).0 + GAP_X).sum::<f64>() - GAP_X)
        .collect();
    let widest = widths.iter().copied().fold(0.0, f64::max);
    let mut placed = vec![Placed::default(); graph.nodes.len()];
    let mut y = GAP_Y / 2.0;
    for (layer, width) in layers.iter().zip(&widths) {
        let mut x = GAP_X / 2.0 + (widest - width) / 2.0;
        let mut tallest: f64 = 0.0;
        for node in layer {
            let (width, height) = size(*node);
            placed[*node] = Placed { x, y, width, height };
            x += width + GAP_X;
            tallest = tallest.max(height);
        }
        y += tallest + GAP_Y;
    }
    (placed, widest + GAP_X, y - GAP_Y / 2.0)
}

/// Layer of each node: one below the lowest of its callers; regions below everything.
fn ranks(graph: &Graph) -> Vec<usize> {
    let mut ranks = vec![0; graph.nodes.len()];
    let call = |kind: EdgeKind| matches!(kind, EdgeKind::PassiveCall | EdgeKind::ActiveCall);
    // Calls have no circles, so a rank never rises beyond the number of nodes; the bound is for pictures of bad graphs.
    for _ in 0..graph.nodes.len() {
        for edge in graph
            .edges
            .iter()
            .filter(|edge| call(edge.kind) && edge.from != edge.to)
        {
            ranks[edge.to] = ranks[edge.to].max(ranks[edge.from] + 1).min(graph.nodes.len());
        }
    }
    let lowest = ranks.iter().copied().max().unwrap_or(0);
    for (rank, node) in ranks.iter_mut().zip(&graph.nodes) {
        if node.kind == NodeKind::Region {
            *rank = lowest + 1;
        }
    }
    ranks
}

/// The nodes of each layer from left to right.
fn order(graph: &Graph, ranks: &[usize]) -> Vec<Vec<usize>> {
    let mut layers = vec![Vec::new(); ranks.iter().copied().max().map_or(0, |rank| rank + 1)];
    for (node, rank) in ranks.iter().enumerate() {
        layers[*rank].push(node);
    }
    layers.retain(|layer| !layer.is_empty());
    let mut position = vec![0.0; graph.nodes.len()];
    let settle = |layer: &[usize], position: &mut [f64]| {
        for (place, node) in layer.iter().enumerate() {
            position[*node] = (place as f64 + 0.5) / layer.len() as f64;
        }
    };
    for layer in &layers {
        settle(layer, &mut position);
    }
    for sweep in 0..SWEEPS {
        let count = layers.len();
        for step in 0..count {
            let index = if sweep % 2 == 0 { step } else { count - 1 - step };
            let mut layer = std::mem::take(&mut layers[index]);
            let wanted: Vec<f64> = (0..graph.nodes.len())
                .map(|node| barycentre(graph, &position, node))
                .collect();
            layer.sort_by(|left, right| wanted[*left].total_cmp(&wanted[*right]).then(left.cmp(right)));
            settle(&layer, &mut position);
            layers[index] = layer;
        }
    }
    layers
}

/// Mean position of a node's neighbours; its own without any.
fn barycentre(graph: &Graph, position: &[f64], node: usize) -> f64 {
    let neighbour = |edge: &super::Edge| match (edge.from == node, edge.to == node) {
        (true, false) => Some(position[edge.to]),
        (false, true) => Some(position[edge.from]),
        _ => None,
    };
    let around: Vec<f64> = graph.edges.iter().filter_map(neighbour).collect();
    if around.is_empty() {
        position[node]
    } else {
        around.iter().sum::<f64>() / around.len() as f64
    }
}
