//! Rust source as tokens and comments: enough to tell code from comments and strings.

/// A Rust source file.
pub(super) struct Source {
    pub(super) tokens: Vec<Token>,
    /// What each line holds; line 1 is the first.
    pub(super) lines: Vec<Line>,
}

/// A word, or a character that is in no word. Of a literal with quotes only `"` is kept.
pub(super) struct Token {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) text: String,
    /// Part of an attribute, `#[...]`.
    pub(super) in_attribute: bool,
}

/// What one line holds besides white space.
#[derive(Default)]
pub(super) struct Line {
    /// Its comments, with their slashes.
    pub(super) comment: String,
    /// It has code other than attributes.
    pub(super) has_code: bool,
    /// It has a part of an attribute.
    pub(super) has_attribute: bool,
    /// Its last token.
    pub(super) last_token: Option<String>,
}

impl Source {
    pub(super) fn new(text: &str) -> Self {
        let mut lexer = Lexer { chars: text.chars().collect(), at: 0, line: 1, tokens: Vec::new(), lines: Vec::new() };
        lexer.lines.resize_with(text.lines().count() + 1, Line::default);
        lexer.run();
        let Lexer { mut tokens, mut lines, .. } = lexer;
        mark_attributes(&mut tokens);
        for token in &tokens {
            let line = &mut lines[token.line - 1];
            line.has_code |= !token.in_attribute;
            line.has_attribute |= token.in_attribute;
            line.last_token = Some(token.text.clone());
        }
        Self { tokens, lines }
    }

    /// A line by its number, counted from 1.
    pub(super) fn line(&self, number: usize) -> &Line {
        &self.lines[number - 1]
    }

    /// Whether the tokens from `start` on read as given, one token each.
    pub(super) fn reads(&self, start: usize, texts: &[&str]) -> bool {
        let here = self.tokens[start.min(self.tokens.len())..].iter().map(|token| token.text.as_str());
        here.take(texts.len()).eq(texts.iter().copied())
    }

    /// The index of the bracket that closes the one at `open`, or that of the last token.
    pub(super) fn closing(&self, open: usize) -> usize {
        closing(&self.tokens, open)
    }
}

fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len() - 1
}

fn mark_attributes(tokens: &mut [Token]) {
    let mut index = 0;
    while index < tokens.len() {
        let text = |at: usize| tokens.get(at).map(|token| token.text.as_str());
        let open = index + if text(index + 1) == Some("!") { 2 } else { 1 };
        if text(index) == Some("#") && text(open) == Some("[") {
            let close = closing(tokens, open);
            for token in &mut tokens[index..=close] {
                token.in_attribute = true;
            }
            index = close;
        }
        index += 1;
    }
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    tokens: Vec<Token>,
    lines: Vec<Line>,
}

impl Lexer {
    fn run(&mut self) {
        while let Some(char) = self.peek(0) {
            match char {
                '/' if self.peek(1) == Some('/') => self.line_comment(),
                '/' if self.peek(1) == Some('*') => self.block_comment(),
                '"' => self.string(),
                '\'' => self.quote(),
                _ if is_word(char) => self.word(),
                _ => {
                    if !char.is_whitespace() {
                        self.push(char.to_string());
                    }
                    self.bump();
                }
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn bump(&mut self) -> Option<char> {
        let char = self.peek(0)?;
        self.at += 1;
        if char == '\n' {
            self.line += 1;
        }
        Some(char)
    }

    fn push(&mut self, text: String) {
        self.tokens.push(Token { line: self.line, text, in_attribute: false });
    }

    fn comment_char(&mut self) {
        let line = self.line - 1;
        if let Some(char) = self.bump() {
            if char != '\n' {
                self.lines[line].comment.push(char);
            }
        }
    }

    fn line_comment(&mut self) {
        while self.peek(0).is_some_and(|char| char != '\n') {
            self.comment_char();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                (None, _) => return,
                _ => {
                    self.comment_char();
                    continue;
                }
            }
            self.comment_char();
            self.comment_char();
            if depth == 0 {
                return;
            }
        }
    }

    fn word(&mut self) {
        let start = self.at;
        while self.peek(0).is_some_and(is_word) {
            self.at += 1;
        }
        let word: String = self.chars[start..self.at].iter().collect();
        let hashes = self.chars[self.at..].iter().take_while(|char| **char == '#').count();
        match (word.as_str(), self.peek(0), self.peek(hashes)) {
            ("r" | "br" | "cr", _, Some('"')) => self.raw_string(hashes),
            ("b" | "c", Some('"'), _) => self.string(),
            ("b", Some('\''), _) => self.quote(),
            _ => self.push(word),
        }
    }

    fn string(&mut self) {
        self.push('"'.to_string());
        self.bump();
        self.until_unescaped('"');
    }

    /// `'a'` is a literal, `'a` a lifetime.
    fn quote(&mut self) {
        let is_literal = self.peek(1) == Some('\\') || self.peek(2) == Some('\'');
        self.push(if is_literal { '"' } else { '\'' }.to_string());
        self.bump();
        if is_literal {
            self.until_unescaped('\'');
        }
    }

    fn until_unescaped(&mut self, end: char) {
        while let Some(char) = self.bump() {
            if char == end {
                return;
            }
            if char == '\\' {
                self.bump();
            }
        }
    }

    fn raw_string(&mut self, hashes: usize) {
        self.push('"'.to_string());
        self.at += hashes + 1;
        while let Some(char) = self.bump() {
            if char == '"' && (0..hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                self.at += hashes;
                return;
            }
        }
    }
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<String> {
        Source::new(source).tokens.into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        assert_eq!(texts("a // b\n/* c /* d */ e */ f \"g // \\\" h\" i"), ["a", "f", "\"", "i"]);
        assert_eq!(
            texts("r\"a\\\" b r##\"c\"#d\"## e br#\"f\"# b\"g\" c\"h\" i"),
            ["\"", "b", "\"", "e", "\"", "\"", "\"", "i"]
        );
    }

    #[test]
    fn lifetimes_and_characters_differ() {
        assert_eq!(texts("'a' x '\\'' y b'\"' z"), ["\"", "x", "\"", "y", "\"", "z"]);
        assert_eq!(texts("&'a str, 'b: loop"), ["&", "'", "a", "str", ",", "'", "b", ":", "loop"]);
        assert_eq!(texts("r#type"), ["r", "#", "type"]);
    }

    #[test]
    fn lines_know_what_they_hold() {
        let source = Source::new("#[a(\n  b\n)]\nc; // d\n\n/* e\nf */ g\n");
        let kinds: Vec<_> = source.lines.iter().map(|line| (line.has_attribute, line.has_code)).collect();
        assert_eq!(kinds[..5], [(true, false), (true, false), (true, false), (false, true), (false, false)]);
        assert_eq!(source.line(4).comment, "// d");
        assert_eq!(source.line(4).last_token.as_deref(), Some(";"));
        assert_eq!((source.line(6).comment.as_str(), source.line(7).comment.as_str()), ("/* e", "f */"));
    }

    #[test]
    fn strings_over_several_lines_keep_the_count() {
        let source = Source::new("\"a\nb\\\nc\"\nd");
        assert_eq!(source.tokens.last().map(|token| token.line), Some(4));
    }

    #[test]
    fn brackets_are_matched() {
        let source = Source::new("f(a, [b], {c}) d");
        assert_eq!(source.closing(1), source.tokens.len() - 2);
        assert!(source.reads(0, &["f", "(", "a"]) && !source.reads(0, &["f", "a"]));
        assert!(!source.reads(source.tokens.len() - 1, &["d", "e"]));
    }
}
