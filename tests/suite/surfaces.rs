//! What a reader of each surface gets: parsed as a browser, a feed reader or a terminal does.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use domain::redact::misleads;
use html5ever::tendril::TendrilSink as _;
use markup5ever_rcdom::{Handle, NodeData, RcDom};

/// What a terminal would obey besides colours; the names hold no colour codes.
pub(crate) fn assert_printable(what: &str, bytes: &[u8]) {
    let all = std::str::from_utf8(bytes).unwrap_or_else(|error| panic!("{what} is no UTF-8: {error}"));
    let plain = regex::Regex::new("\u{1b}\\[[0-9;]*m").unwrap().replace_all(all, "");
    for line in plain.lines() {
        let bad = line.chars().find(|c| misleads(*c));
        assert_eq!(bad, None, "{what}: {line:?}");
    }
}

/// All files below a folder, sorted.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Elements with their attributes, texts of scripts, and everything that stands in `href` or `src`.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) tags: BTreeSet<String>,
    pub(crate) scripts: Vec<String>,
    pub(crate) links: Vec<String>,
    pub(crate) text: String,
}

fn text_of(node: &Handle) -> String {
    let children = node.children.borrow();
    children
        .iter()
        .map(
            |child| {
                if let NodeData::Text { contents } = &child.data {
                    contents.borrow().to_string()
                } else {
                    text_of(child)
                }
            },
        )
        .collect()
}

fn look_at(node: &Handle, page: &mut Page) {
    match &node.data {
        NodeData::Element { name, attrs, .. } => {
            let attrs = attrs.borrow();
            let mut names: Vec<String> = attrs.iter().map(|attr| attr.name.local.to_string()).collect();
            names.sort();
            page.tags.insert(format!("{} {}", name.local, names.join(" ")));
            if &*name.local == "script" {
                page.scripts.push(text_of(node));
            }
            let links =
                attrs.iter().filter(|attr| matches!(&*attr.name.local, "href" | "src" | "action" | "xlink:href"));
            page.links.extend(links.map(|attr| attr.value.to_string()));
        }
        NodeData::Text { contents } => page.text.push_str(&contents.borrow()),
        NodeData::Comment { contents } => panic!("a comment that no template has: {contents}"),
        _ => {}
    }
    for child in node.children.borrow().iter() {
        look_at(child, page);
    }
}

/// A page as a browser reads it.
pub(crate) fn page_of(path: &Path) -> Page {
    let dom = html5ever::parse_document(RcDom::default(), html5ever::ParseOpts::default())
        .one(std::fs::read_to_string(path).unwrap());
    let mut page = Page::default();
    look_at(&dom.document, &mut page);
    page
}

/// The XML is well-formed; the names of its elements.
pub(crate) fn elements_of_xml(path: &Path) -> BTreeSet<String> {
    use quick_xml::events::Event;
    let content = std::fs::read_to_string(path).unwrap();
    // Of the characters that XML 1.0 allows, quick-xml lets others pass.
    let allowed =
        |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    assert!(content.chars().all(allowed), "{}", path.display());
    let mut reader = quick_xml::Reader::from_str(&content);
    reader.config_mut().check_comments = true;
    let mut found = BTreeSet::new();
    loop {
        match reader.read_event().unwrap_or_else(|error| panic!("{}: {error}", path.display())) {
            Event::Start(ref tag) | Event::Empty(ref tag) => {
                found.insert(String::from_utf8_lossy(tag.name().as_ref()).into_owned());
                for attribute in tag.attributes() {
                    let name = String::from_utf8_lossy(attribute.unwrap().key.as_ref()).into_owned();
                    assert!(!name.starts_with("on"), "{}: {name}", path.display());
                }
            }
            Event::Eof => return found,
            Event::GeneralRef(name) => {
                let known = ["amp", "lt", "gt", "quot", "apos"].contains(&&*String::from_utf8_lossy(&name));
                assert!(known || name.is_char_ref(), "{}: {name:?}", path.display());
            }
            Event::DocType(_) | Event::PI(_) | Event::CData(_) => panic!("{} has what no template has", path.display()),
            _ => {}
        }
    }
}
