//! The results document as it is stored and as it is shown.

use serde_json::Value;

/// Replaces the upper triangles of the stored document by whole matrices, `matrix` and `overlap`, as `show` prints them.
#[must_use]
pub fn expand(mut results: Value) -> Value {
    if let Some(part) = results.get_mut("correlations").and_then(Value::as_object_mut) {
        let n = part.get("symbols").and_then(Value::as_array).map_or(0, Vec::len);
        for (stored, shown) in [("triangle", "matrix"), ("overlap_triangle", "overlap")] {
            if let Some(whole) = part.get(stored).and_then(Value::as_array).and_then(|values| square(values, n)) {
                part.remove(stored);
                part.insert(shown.to_owned(), whole);
            }
        }
    }
    results
}

/// The symmetric matrix of an upper triangle with diagonal, row by row; none where the length does not fit.
fn square(triangle: &[Value], n: usize) -> Option<Value> {
    let expected = n.checked_mul(n.checked_add(1)?)? / 2;
    if triangle.len() != expected {
        return None;
    }
    let at = |i: usize, j: usize| i * (2 * n - i - 1) / 2 + j;
    let row = |i: usize| (0..n).map(|j| triangle[at(i.min(j), i.max(j))].clone()).collect::<Vec<Value>>();
    Some((0..n).map(row).collect::<Vec<_>>().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn triangles_become_matrices() {
        let stored = json!({"correlations": {"symbols": ["a", "b", "c"], "triangle": [1.0, 0.5, null, 1.0, -0.25, 1.0],
            "overlap_triangle": [9, 8, 7, 9, 6, 9]}, "stress": []});
        let shown = expand(stored);
        assert_eq!(shown["correlations"]["matrix"], json!([[1.0, 0.5, null], [0.5, 1.0, -0.25], [null, -0.25, 1.0]]));
        assert_eq!(shown["correlations"]["overlap"][2], json!([7, 6, 9]));
        assert!(shown["correlations"].get("triangle").is_none());
        assert_eq!(expand(shown.clone()), shown, "once is enough");
    }

    #[test]
    fn what_does_not_fit_stays() {
        let odd = json!({"correlations": {"symbols": ["a"], "triangle": [1.0, 2.0]}});
        assert_eq!(expand(odd.clone()), odd);
        assert_eq!(expand(json!(null)), json!(null));
    }
}
