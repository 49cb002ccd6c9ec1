//! Rust source without its comments and literals, so that words in them are not taken for code.

/// Blanks comments, strings and characters; what is left keeps its line.
pub(super) fn code(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    // Whether the last character belongs to a name, of which an `r` or `b` here is then a part.
    let mut in_name = false;
    while let Some(first) = rest.chars().next() {
        let length = if in_name { None } else { raw_string(rest) }
            .or_else(|| comment(rest))
            .or_else(|| string(rest))
            .or_else(|| character(rest));
        let (taken, blank) = match length {
            Some(length) => (length, true),
            None => (first.len_utf8(), false),
        };
        for c in rest[..taken].chars() {
            code.push(if blank && c != '\n' { ' ' } else { c });
        }
        in_name = !blank && (first.is_alphanumeric() || first == '_');
        rest = &rest[taken..];
    }
    code
}

/// The length of the line or block comment at the start; block comments nest.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    Some(text.len())
}

fn string(text: &str) -> Option<usize> {
    let body = text.strip_prefix('"')?;
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 2),
            _ => {}
        }
    }
    Some(text.len())
}

fn raw_string(text: &str) -> Option<usize> {
    let start = ["r", "br", "cr"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))?;
    let hashes = start.len() - start.trim_start_matches('#').len();
    let body = start[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(text.len() - body.len() + length)
}

/// A character, as opposed to a lifetime, which has no second quote where a character has it.
fn character(text: &str) -> Option<usize> {
    let body = text.strip_prefix('\'')?;
    let mut chars = body.char_indices();
    let (_, first) = chars.next()?;
    let (second, _) = chars.next()?;
    let end = if first == '\\' {
        let after = chars.next()?.0;
        after + body[after..].find('\'')?
    } else {
        second
    };
    body[end..].starts_with('\'').then_some(end + 2)
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn comments_and_literals_are_blank_and_all_else_is_kept() {
        for (source, expected) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"a "b \" c" d"#, "a          d"),
            ("a r#\"b \" c\"# d", "a            d"),
            ("for\"b\"", "for   "),
            ("a b'x' c", "a b    c"),
            (r"a '\'' b", "a      b"),
            (r"a '\u{7f}' b", "a          b"),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("'\"' unsafe", "    unsafe"),
            ("a \"b", "a   "),
        ] {
            assert_eq!(code(source), expected, "{source}");
        }
    }

    #[test]
    fn lines_stay_where_they_are() {
        let source = "/* a\nb */ \"c\nd\" e";
        assert_eq!(code(source).lines().count(), 3);
        assert!(code(source).ends_with(" e"));
    }
}
