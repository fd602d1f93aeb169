package weft_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/weftrun/weft"
)

type hidden struct{ _ int }

type shapes interface{ Area() float64 }

// Mistakes of registration are found where the program starts, at their line.
func TestWrongRegistration(t *testing.T) {
	tests := []struct {
		name     string
		register func()
		parts    []string
	}{
		{"taken", func() { weft.Task0("test.answer", func(context.Context) (int, error) { return 0, nil }) },
			[]string{"test.answer", "taken", "task_test.go:"}},
		{"taken by a task", func() { weft.Actor0("test.answer", func(context.Context) (*tally, error) { return nil, nil }) },
			[]string{"test.answer", "taken"}},
		{"taken method", func() { weft.Method1(tallies, (*tally).Add) }, []string{"Add", "taken"}},
		{"nameless", func() { weft.Task0("", func(context.Context) (int, error) { return 0, nil }) }, []string{"needs a name"}},
		{"channel argument", func() { weft.Task1("test.r1", func(context.Context, chan int) (int, error) { return 0, nil }) },
			[]string{"test.r1", "argument 1", "chan int"}},
		{"second argument", func() {
			weft.Task2("test.r2", func(context.Context, int, struct{ F func() }) (int, error) { return 0, nil })
		}, []string{"argument 2", "F", "func()"}},
		{"result", func() {
			weft.Task1("test.r3", func(context.Context, int) (map[string]chan int, error) { return nil, nil })
		},
			[]string{"result", "chan int"}},
		{"pair's second result", func() {
			weft.Pair1("test.r4", func(context.Context, int) (int, chan int, error) { return 0, nil, nil })
		}, []string{"chan int"}},
		{"nothing exported", func() { weft.Task1("test.r5", func(context.Context, hidden) (int, error) { return 0, nil }) },
			[]string{"hidden", "exported"}},
		{"interface", func() { weft.Task1("test.r6", func(context.Context, shapes) (int, error) { return 0, nil }) },
			[]string{"shapes", "concrete"}},
		{"nameless method", func() {
			weft.Method0(tallies, func(*tally, context.Context) (int, error) { return 0, nil })
		}, []string{"MethodName"}},
		{"wrong default", func() {
			weft.Task0("test.r7", func(context.Context) (int, error) { return 0, nil }, weft.CPU(-1))
		}, []string{"CPU", "negative"}},
		{"wrong retries", func() {
			weft.Task0("test.r8", func(context.Context) (int, error) { return 0, nil }, weft.MaxRetries(-7))
		}, []string{"MaxRetries -7"}},
		{"wrong actor default", func() {
			weft.Actor0("test.r9", func(context.Context) (*tally, error) { return nil, nil }, weft.Concurrency(-1))
		}, []string{"concurrency -1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := panicOf(tt.register)
			for _, part := range append(tt.parts, "/register_test.go:") {
				if !strings.Contains(text, part) {
					t.Errorf("the panic %q does not say %q", text, part)
				}
			}
		})
	}
}

func panicOf(f func()) (text string) {
	defer func() { text = fmt.Sprint(recover()) }()
	f()
	return "no panic"
}
