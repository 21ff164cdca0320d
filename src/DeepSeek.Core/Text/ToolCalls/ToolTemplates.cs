namespace DeepSeek.Text.ToolCalls;

/// <summary>
/// Whole conversations with tools for models whose published template leaves definitions out or writes calls wrongly (a list without its end, a second round without its beginning).
/// In the published formats: https://huggingface.co/deepseek-ai/DeepSeek-R1-0528, https://huggingface.co/deepseek-ai/DeepSeek-V3.1.
/// </summary>
internal static class ToolTemplates
{
    private const string Head = """
        {%- set ns = namespace(system='', last='') %}
        {%- for message in messages if message.role in ['system', 'developer'] %}
            {%- set ns.system = ns.system + ('\n\n' if ns.system else '') + message.content %}
        {%- endfor %}
        {{- bos_token ~ ns.system }}
        {%- if tools %}
            {{- '\n\n## Tools\nYou have access to the following tools:\n' }}
            {%- for tool in tools %}
                {{- '\n### ' + tool.function.name + '\nDescription: ' + (tool.function.description or '') + '\n\nParameters: ' + (tool.function.parameters | tojson) + '\n' }}
            {%- endfor %}
            {{- '\nIMPORTANT: ALWAYS adhere to this exact format for tool use:\n' + example + '\n\nWhere:\n\n- `tool_call_name` must be an exact match to one of the available tools\n' }}
            {{- '- `tool_call_arguments` must be valid JSON that strictly follows the tool\'s Parameters Schema\n' + advice }}
        {%- endif %}
        {%- macro arguments(call) %}{{ call.function.arguments if call.function.arguments is string else call.function.arguments | tojson }}{% endmacro %}
        """;

    /// <summary>V3 and R1.</summary>
    public const string DeepSeekV3 = """
        {%- set example = '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>tool_call_name\n```json\ntool_call_arguments\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>' %}
        {%- set advice = '- For multiple tool calls, put them into one list, separated by a newline' %}
        """ + Head + """
        {%- for message in messages %}
            {%- if ns.last == 'tool' and message.role != 'tool' %}{{ '<｜tool▁outputs▁end｜>' }}{% endif %}
            {%- if message.role == 'user' %}
                {{- '<｜User｜>' + message.content }}
            {%- elif message.role == 'tool' %}
                {{- ('\n' if ns.last == 'tool' else '<｜tool▁outputs▁begin｜>') + '<｜tool▁output▁begin｜>' + message.content + '<｜tool▁output▁end｜>' }}
            {%- elif message.role == 'assistant' %}
                {{- ('' if ns.last == 'tool' else '<｜Assistant｜>') + message.content.split('</think>')[-1] }}
                {%- for call in message.tool_calls or [] %}
                    {{- '<｜tool▁calls▁begin｜>' if loop.first else '\n' }}
                    {{- '<｜tool▁call▁begin｜>function<｜tool▁sep｜>' + call.function.name + '\n```json\n' + arguments(call) + '\n```<｜tool▁call▁end｜>' }}
                    {{- '<｜tool▁calls▁end｜>' if loop.last }}
                {%- endfor %}
                {{- '<｜end▁of▁sentence｜>' }}
            {%- endif %}
            {%- if message.role not in ['system', 'developer'] %}{% set ns.last = message.role %}{% endif %}
        {%- endfor %}
        {%- if ns.last == 'tool' %}
            {{- '<｜tool▁outputs▁end｜>' }}
        {%- elif add_generation_prompt %}
            {{- generation_prompt }}
        {%- endif %}
        """;

    /// <summary>V3.1.</summary>
    public const string DeepSeekV31 = """
        {%- set example = '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>tool_call_name<｜tool▁sep｜>tool_call_arguments<｜tool▁call▁end｜>{additional_tool_calls}<｜tool▁calls▁end｜>' %}
        {%- set advice = '- For multiple tool calls, chain them directly without separators or spaces' %}
        """ + Head + """
        {%- for message in messages %}
            {%- if message.role == 'user' %}
                {{- '<｜User｜>' + message.content }}
            {%- elif message.role == 'tool' %}
                {{- '<｜tool▁output▁begin｜>' + message.content + '<｜tool▁output▁end｜>' }}
            {%- elif message.role == 'assistant' %}
                {{- (answer_prompt if ns.last == 'user') ~ message.content.split('</think>')[-1] }}
                {%- for call in message.tool_calls or [] %}
                    {{- '<｜tool▁calls▁begin｜>' if loop.first }}
                    {{- '<｜tool▁call▁begin｜>' + call.function.name + '<｜tool▁sep｜>' + arguments(call) + '<｜tool▁call▁end｜>' }}
                    {{- '<｜tool▁calls▁end｜>' if loop.last }}
                {%- endfor %}
                {{- '<｜end▁of▁sentence｜>' }}
            {%- endif %}
            {%- if message.role not in ['system', 'developer'] %}{% set ns.last = message.role %}{% endif %}
        {%- endfor %}
        {%- if add_generation_prompt and ns.last != 'tool' %}
            {{- generation_prompt }}
        {%- endif %}
        """;
}
