//! What may stand where in a document, after the official JSON schema
//! (<http://go.atlassian.com/adf-json-schema>).

use crate::tree::{Inline, InlineKind, Mark};

/// Where blocks stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Root,
    Column,
    Expand,
    NestedExpand,
    Panel,
    Quote,
    Item,
    Cell,
}

impl Place {
    /// The place inside a node of this type.
    pub(super) fn inside(node_type: &str) -> Self {
        match node_type {
            "panel" => Self::Panel,
            "nestedExpand" => Self::NestedExpand,
            "layoutColumn" => Self::Column,
            "tableCell" | "tableHeader" => Self::Cell,
            _ => Self::Expand,
        }
    }

    /// Whether a node of this type may stand here.
    pub(super) fn allows(self, node_type: &str) -> bool {
        match node_type {
            "paragraph" | "bulletList" | "orderedList" | "codeBlock" | "mediaSingle" => true,
            "taskList" => self != Self::Quote,
            "heading" | "rule" | "decisionList" => !matches!(self, Self::Quote | Self::Item),
            "blockquote" => !matches!(self, Self::Quote | Self::Item | Self::Panel),
            "panel" => !matches!(self, Self::Quote | Self::Item | Self::Panel),
            "table" => matches!(self, Self::Root | Self::Column | Self::Expand),
            "expand" | "bodiedExtension" => matches!(self, Self::Root | Self::Column),
            "nestedExpand" => matches!(self, Self::Expand | Self::Cell),
            "layoutSection" => self == Self::Root,
            _ => false,
        }
    }
}

/// A heading's words where no heading may be.
pub(super) fn strong(inlines: &[Inline]) -> Vec<Inline> {
    let mut inlines = inlines.to_vec();
    for inline in &mut inlines {
        let plain = matches!(inline.kind, InlineKind::Text(_)) && !inline.marks.contains(&Mark::Code);
        if plain && !inline.marks.contains(&Mark::Strong) {
            inline.marks.push(Mark::Strong);
            inline.marks.sort();
            inline.origin = None;
        }
    }
    inlines
}
