// SPDX-License-Identifier: GPL-2.0-only
/* G11: hostile input to every request, from whoever has the device, in any namespace. */
#include "attacks.h"

/* What a namespace's superuser may do in it counts for nothing here. */
TEST_F(hostile, a_namespace_gives_no_right_to_lock_memory)
{
	struct rlimit limit = { .rlim_cur = 0, .rlim_max = 0 };
	int want = variant->kind == ISTH_REGION_ISOLATED ? -EDQUOT : 0;
	int fd;

	if (!variant->user_namespace && become_nobody())
		SKIP(return, "cannot become an ordinary user");
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
	fd = region_create(self->device, variant->kind, 0, self->page);
	EXPECT_EQ(want, fd < 0 ? fd : 0);
	if (fd >= 0)
		close(fd);
}

/* Two threads change the structure while the module reads it. */
struct changer {
	atomic_int stop;
	union structure *structure;
};

static void *change(void *argument)
{
	struct changer *changer = argument;
	uint64_t state = 1;

	while (!atomic_load_explicit(&changer->stop, memory_order_relaxed))
		((volatile uint8_t *)changer->structure)[random_next(&state) % 24] =
			random_next(&state) % 3 ? 0 : (uint8_t)random_next(&state);
	return NULL;
}

TEST_F(hostile, structures_that_change_while_they_are_read)
{
	const struct target *target = targets;
	struct changer changer = { .structure = (void *)self->buffer };
	unsigned int tries = 0, answered = 0;
	pthread_t thread;
	uint64_t end;
	int got;

	alarm_in_ms(5, 5);
	ASSERT_EQ(0, pthread_create(&thread, NULL, change, &changer));
	for (end = race_end(200); now_ms() < end; tries++) {
		target = targets + tries % TARGETS;
		/* Bytes that another thread writes would make it any size. */
		if (target->code == ISTH_REGION_CREATE)
			continue;
		got = attempt(self, target, self->buffer);
		answered += got >= 0 || got == -EINVAL || got == -EACCES || got == -EAGAIN ||
			    got == -ETIMEDOUT || got == -EINTR || got == -EOPNOTSUPP ||
			    got == -EKEYREVOKED;
		answered += target->code == ISTH_REGION_CREATE;
		tries += target->code == ISTH_REGION_CREATE;
	}
	atomic_store(&changer.stop, 1);
	pthread_join(thread, NULL);
	alarm_in_ms(0, 0);
	EXPECT_LT(0, answered);
	/* It may have revoked its own handle; that is its own affair. */
	EXPECT_NE(UINT32_MAX, handle_state(self->handle));
}

TEST_NOTHING_IS_LEFT

TEST_HARNESS_MAIN
