package main

// What Go does without Weft: the limits of an embedded node.

// callGoroutine is a task as a program without Weft would write it.
func callGoroutine() error {
	ch := make(chan int, 1)
	go func() { ch <- 7 * 7 }()
	return right(<-ch == 49, nil)
}

func pipelineGoroutines() error {
	var chans [window]chan int
	for i := range chans {
		ch := make(chan int, 1)
		chans[i] = ch
		go func() { ch <- 7 * 7 }()
	}
	for _, ch := range chans {
		if <-ch != 49 {
			return errWrong
		}
	}
	return nil
}

// owner is an actor as a program without Weft would write it: a goroutine that
// alone has a value, and takes requests with a channel for the answer.
type owner chan addition

type addition struct {
	d     int
	reply chan int
}

func startOwner() owner {
	o := make(owner, window)
	go func() {
		n := 0
		for a := range o {
			n += a.d
			a.reply <- n
		}
	}()
	return o
}

func (o owner) call() error {
	reply := make(chan int, 1)
	o <- addition{1, reply}
	<-reply
	return nil
}

func (o owner) pipeline() error {
	var replies [window]chan int
	for i := range replies {
		replies[i] = make(chan int, 1)
		o <- addition{1, replies[i]}
	}
	for _, r := range replies {
		<-r
	}
	return nil
}
