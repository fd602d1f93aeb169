package event

import "testing"

func BenchmarkAppend(b *testing.B) {
	l := New(Config{})
	r := Record{Kind: TaskDone, Name: l.Name("f"), Ran: 100}
	b.ReportAllocs()
	for i := range b.N {
		l.Append(1000*1000*1000*1000+100, r)
		_ = i
	}
}

func BenchmarkAppendAll(b *testing.B) {
	l := New(Config{Budget: -1})
	r := Record{Kind: TaskDone, Name: l.Name("f"), Ran: 100}
	b.ReportAllocs()
	for range b.N {
		l.Append(100, r)
	}
}
