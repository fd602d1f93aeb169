package state

import (
	"cmp"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Op is how a Filter compares.
type Op string

// Operators. Greater and Less compare numbers and times.
const (
	Is       Op = "="
	Not      Op = "!="
	Contains Op = "~"
	Greater  Op = ">"
	Less     Op = "<"
)

// Filter keeps the rows whose field compares with Value. A field is named as
// in JSON; an entry of a map is field.key, such as labels.zone. Text compares
// without regard to case.
type Filter struct {
	Field string `json:"field"`
	Op    Op     `json:"op"`
	Value string `json:"value"`
}

// ParseFilter reads "field=value", or another operator.
func ParseFilter(s string) (Filter, error) {
	i := strings.IndexAny(s, "=!~<>")
	if i <= 0 {
		return Filter{}, fmt.Errorf("filter %q: want field=value; operators are = != ~ < >", s)
	}
	op := Op(s[i : i+1])
	if strings.HasPrefix(s[i:], string(Not)) {
		op = Not
	} else if op == "!" {
		return Filter{}, fmt.Errorf("filter %q: want != after %q", s, s[:i])
	}
	return Filter{Field: s[:i], Op: op, Value: s[i+len(op):]}, nil
}

func (f Filter) String() string { return f.Field + string(f.Op) + f.Value }

// Select applies q to rows that come in any order. T is a view with an ID
// field. A filter that T has no field for is an error.
func Select[T any](q Query, rows iter.Seq[T]) (Rows[T], error) {
	match, err := compile[T](q.Filters)
	if err != nil {
		return Rows[T]{}, err
	}
	page := page[T]{limit: q.Limit, after: q.After}
	if page.limit <= 0 {
		page.limit = DefaultLimit
	}
	var row T // one that escapes, not one a row
	for row = range rows {
		if match(&row) {
			page.add(&row)
		}
	}
	page.cut()
	return Rows[T]{Rows: page.rows, Total: page.total, Truncated: page.truncated}, nil
}

// page keeps the first limit rows after an id, of any number in any order.
type page[T any] struct {
	limit     int
	after     string
	rows      []T
	last      string // no row after this one is among the first; "" while not known
	total     int
	truncated bool
}

func (p *page[T]) add(row *T) {
	p.total++
	key := rowID(row)
	if p.after != "" && compareIDs(key, p.after) <= 0 {
		return
	}
	if p.last != "" && compareIDs(key, p.last) > 0 {
		p.truncated = true
		return
	}
	p.rows = append(p.rows, *row)
	if len(p.rows) >= 2*p.limit+64 {
		p.cut()
	}
}

// cut sorts what there is and drops what is too much.
func (p *page[T]) cut() {
	slices.SortFunc(p.rows, func(a, b T) int { return compareIDs(rowID(&a), rowID(&b)) })
	if len(p.rows) > p.limit {
		p.rows = slices.Delete(p.rows, p.limit, len(p.rows))
		p.truncated = true
		p.last = rowID(&p.rows[p.limit-1])
	}
	if p.rows == nil {
		p.rows = []T{} // an empty list in JSON, not null
	}
}

func rowID[T any](row *T) string {
	switch r := any(row).(type) {
	case *Task:
		return r.ID
	case *Actor:
		return r.ID
	case *Object:
		return r.ID
	case *Worker:
		return strconv.Itoa(r.ID)
	case *Job:
		return r.ID
	case *Node:
		return r.ID
	case *Group:
		return r.ID
	}
	return fmt.Sprint(reflect.ValueOf(row).Elem().FieldByName("ID"))
}

// compareIDs orders hex ids, which have one length, and decimal ones.
func compareIDs(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

// compile finds the filters' fields once, so that a row costs little.
func compile[T any](filters []Filter) (func(*T) bool, error) {
	var tests []func(reflect.Value) bool
	for _, f := range filters {
		test, err := f.compile(reflect.TypeFor[T]())
		if err != nil {
			return nil, err
		}
		tests = append(tests, test)
	}
	if len(tests) == 0 {
		return func(*T) bool { return true }, nil
	}
	return func(row *T) bool {
		v := reflect.ValueOf(row).Elem()
		for _, test := range tests {
			if !test(v) {
				return false
			}
		}
		return true
	}, nil
}

func (f Filter) compile(t reflect.Type) (func(reflect.Value) bool, error) {
	name, key, _ := strings.Cut(f.Field, ".")
	index, names := fieldByTag(t, name)
	if index < 0 {
		return nil, fmt.Errorf("filter %q: there is no field %q; fields are %s", f, name, strings.Join(names, ", "))
	}
	compare := comparator(f)
	return func(row reflect.Value) bool {
		v := row.Field(index)
		switch {
		case v.Kind() == reflect.Map && key != "":
			v = v.MapIndex(reflect.ValueOf(key))
		case v.Kind() == reflect.Struct && key != "":
			i, _ := fieldByTag(v.Type(), key)
			if i < 0 {
				return false
			}
			v = v.Field(i)
		}
		return compare(fieldText(v))
	}, nil
}

// Fields are the names of T's fields that a Filter can compare.
func Fields[T any]() []string {
	_, names := fieldByTag(reflect.TypeFor[T](), "")
	return names
}

func fieldByTag(t reflect.Type, name string) (index int, names []string) {
	index = -1
	for i := range t.NumField() {
		tag, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, tag)
		if tag == name {
			index = i
		}
	}
	return index, names
}

func fieldText(v reflect.Value) string {
	if !v.IsValid() {
		return ""
	}
	switch {
	case v.Kind() == reflect.String:
		return v.String()
	case v.CanInt():
		return strconv.FormatInt(v.Int(), 10)
	case v.CanFloat():
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	}
	if t, ok := reflect.TypeAssert[time.Time](v); ok {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprint(v.Interface())
}

func comparator(f Filter) func(got string) bool {
	switch f.Op {
	case Not:
		return func(got string) bool { return !strings.EqualFold(got, f.Value) }
	case Contains:
		want := strings.ToLower(f.Value)
		return func(got string) bool { return strings.Contains(strings.ToLower(got), want) }
	case Greater:
		return func(got string) bool { return compareValues(got, f.Value) > 0 }
	case Less:
		return func(got string) bool { return compareValues(got, f.Value) < 0 }
	default:
		return func(got string) bool { return strings.EqualFold(got, f.Value) }
	}
}

func compareValues(a, b string) int {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	if errX == nil && errY == nil {
		return cmp.Compare(x, y)
	}
	return strings.Compare(a, b)
}
