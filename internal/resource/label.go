package resource

import (
	"fmt"
	"slices"
	"strings"
)

// Labels are a node's key=value pairs.
type Labels map[string]string

// Term constrains one label: its value must (or must not) be among Values.
// An absent label is a value of no set.
type Term struct {
	Key    string
	Not    bool
	Values []string
}

// Selector is a conjunction of Terms, sorted by key. The nil Selector matches
// every node.
type Selector []Term

// ParseSelector reads {key: expression}, where an expression is "v", "!v",
// "in(a,b)" or "!in(a,b)".
func ParseSelector(m map[string]string) (Selector, error) {
	var s Selector
	for key, expr := range m {
		if key == "" {
			return nil, fmt.Errorf("label selector: empty key for %q", expr)
		}
		t := Term{Key: key}
		t.Not = strings.HasPrefix(expr, "!")
		expr = strings.TrimPrefix(expr, "!")
		if inner, ok := strings.CutPrefix(expr, "in("); ok {
			inner, ok = strings.CutSuffix(inner, ")")
			if !ok {
				return nil, fmt.Errorf("label selector: %s: %q lacks its closing parenthesis", key, expr)
			}
			for v := range strings.SplitSeq(inner, ",") {
				t.Values = append(t.Values, strings.TrimSpace(v))
			}
		} else {
			t.Values = []string{expr}
		}
		s = append(s, t)
	}
	slices.SortFunc(s, func(a, b Term) int { return strings.Compare(a.Key, b.Key) })
	return s, nil
}

// Match reports whether l satisfies every term of s.
func (s Selector) Match(l Labels) bool {
	for i := range s {
		v, has := l[s[i].Key]
		if (has && slices.Contains(s[i].Values, v)) == s[i].Not {
			return false
		}
	}
	return true
}

func (s Selector) String() string {
	var b strings.Builder
	for i, t := range s {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(t.Key)
		if t.Not {
			b.WriteByte('!')
		}
		fmt.Fprintf(&b, "=%s", strings.Join(t.Values, "|"))
	}
	return b.String()
}
