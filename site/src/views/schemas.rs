//! The JSON Schemas of the files for machines, published beside them. A file names the version of its schema in
//! `schema`; a field that is added does not change the version, one that goes or changes its meaning does.

/// The schemas by the name of their file below `schemas/`.
pub(crate) const SCHEMAS: [(&str, &str); 6] = [
    ("status.v1.json", include_str!("../../../templates/schemas/status.v1.json")),
    ("summary.v1.json", include_str!("../../../templates/schemas/summary.v1.json")),
    ("jobs.v1.json", include_str!("../../../templates/schemas/jobs.v1.json")),
    ("portfolio.v1.json", include_str!("../../../templates/schemas/portfolio.v1.json")),
    ("night.v1.json", include_str!("../../../templates/schemas/night.v1.json")),
    ("months.v1.json", include_str!("../../../templates/schemas/months.v1.json")),
];
