package worker

import (
	"fmt"
	"strings"
	"testing"
)

// The beginning of a crash survives the listing of goroutines that follows it.
func TestTail(t *testing.T) {
	lines := func(format string, from, to int) (all []string) {
		for i := from; i < to; i++ {
			all = append(all, fmt.Sprintf(format, i))
		}
		return all
	}
	crash := append([]string{"panic: out of cheese", "[signal SIGSEGV: segmentation violation]"}, lines("trace %d", 0, 10)...)
	join := func(parts ...[]string) (all []string) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	for _, c := range []struct {
		name        string
		added, want []string
	}{
		{"nothing", nil, nil},
		{"few", lines("%d", 0, 5), lines("%d", 0, 5)},
		{"many", lines("%d", 0, 50), lines("%d", 30, 50)},
		{"a short crash", join(lines("%d", 0, 9), crash), join(lines("%d", 1, 9), crash)},
		{"a long crash", join(lines("%d", 0, 9), crash, lines("more %d", 0, 100)), join(crash, []string{"..."}, lines("more %d", 92, 100))},
		{"a crash that just scrolled out", join(crash, lines("more %d", 0, 9)), join(crash, []string{"..."}, lines("more %d", 1, 9))},
		{"two crashes", join(lines("panic: %d", 0, 1), lines("%d", 0, 50), crash, lines("more %d", 0, 100)),
			join(crash, []string{"..."}, lines("more %d", 92, 100))},
	} {
		var tl tail
		for _, line := range c.added {
			tl.add([]byte(line))
		}
		want := strings.Join(append(c.want, ""), "\n")
		if got := tl.String(); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, want)
		}
	}
	var tl tail
	tl.add([]byte(strings.Repeat("é", tailWidth) + "\xff"))
	if got := tl.String(); len(got) != tailWidth+1 {
		t.Errorf("a long line: %d bytes", len(got))
	}
}
