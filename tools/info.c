// SPDX-License-Identifier: GPL-2.0-only
/*
 * isthmus info: what the module is, what it can do, and what is alive in it.
 */
#include <unistd.h>

#include <isthmus.h>

#include "command.h"
#include "output.h"
#include "units.h"

static void show(const struct isth_info *info, bool as_json)
{
	char features[UNITS_MAX];
	const struct field fields[] = {
		{ FIELD_NUMBER, "abi_version", "ABI version", info->abi_version, NULL },
		{ FIELD_WORDS, "features", "features", 0,
		  format_features(info->features, features, sizeof(features)) },
		{ FIELD_SIZE, "region_size_max", "largest region", info->region_size_max, NULL },
		{ FIELD_NUMBER, "handles_max", "handles per object", info->handles_max, NULL },
		{ FIELD_SIZE, "page_size", "page size", info->page_size, NULL },
		{ FIELD_NUMBER, "regions", "regions alive", info->regions, NULL },
		{ FIELD_NUMBER, "handles", "handles alive", info->handles, NULL },
		{ FIELD_NUMBER, "mappings", "mappings alive", info->mappings, NULL },
	};
	struct json json = { .file = stdout };

	if (!as_json) {
		fields_print(stdout, fields, ARRAY_SIZE(fields));
		return;
	}
	json_open(&json, NULL, '{');
	fields_json(&json, fields, ARRAY_SIZE(fields));
	json_close(&json, '}');
}

static int run(const struct command *self, int argc, char **argv)
{
	bool as_json = false;
	const struct option options[] = {
		{ "json", 'j', OPTION_FLAG, NULL, "print one JSON object", &as_json, NULL },
		{ .name = NULL },
	};
	struct isth_info info;
	int device, ret;

	ret = command_parse(self, options, argc, argv, NULL, 0, 0);
	if (ret != PARSED)
		return ret;
	device = open_device();
	if (device < 0)
		return STATUS_UNAVAILABLE;
	ret = isth_info(device, &info);
	close(device);
	if (ret) {
		complain("/dev/isthmus does not answer: %s", isth_strerror(ret));
		return STATUS_FAILED;
	}
	show(&info, as_json);
	return STATUS_OK;
}

const struct command command_info = {
	.name = "info",
	.arguments = "[--json]",
	.summary = "Show what the module is, what it can do, and what is alive in it",
	.run = run,
};
